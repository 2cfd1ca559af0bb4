/** The container runtime keeps the same contract with Podman, whose service speaks Docker's API. */

import { openContract } from '../container/ground.ts';
import { runtimeContract } from '../contracts/runtime.ts';

runtimeContract('container by Podman', openContract);

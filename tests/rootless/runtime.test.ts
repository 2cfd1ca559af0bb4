/** The container runtime keeps the same contract as an unprivileged user, with that user's own engine. */

import { openContract } from '../container/ground.ts';
import { runtimeContract } from '../contracts/runtime.ts';

runtimeContract('container by a rootless engine', openContract);

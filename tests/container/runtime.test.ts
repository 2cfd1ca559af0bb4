/** The container runtime on a real engine keeps the contract of every runtime. */

import { runtimeContract } from '../contracts/runtime.ts';
import { openContract } from './ground.ts';

runtimeContract('container', openContract);

/** The container runtime on a real engine keeps the contract of every runtime. */

import { runtimeContract } from '../contracts/runtime.ts';
import { docker, openGround } from './ground.ts';

runtimeContract('container', async () => {
  const ground = openGround();
  return {
    runtime: ground.runtime,
    again: ground.again,
    spec: (name) => ground.spec(name),
    crash: async (handle) => void (await docker.getContainer(String(handle['container'])).kill()),
    close: ground.close,
  };
});

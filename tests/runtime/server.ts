/** A server that starts one instance, says its handle and waits to be killed. */
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { hostRuntime } from '../../src/runtime/host.ts';

const [root = '', instanceId = ''] = process.argv.slice(2);
const runtime = hostRuntime({
  root,
  agentCommand: [join(import.meta.dir, 'agent.sh')],
  serverAddress: () => '127.0.0.1:1',
  socketPath: null,
  issueSecret: async (name) => join(root, name, 'secret'),
  clock: systemClock,
  log: () => {},
  env: { PATH: process.env.PATH ?? '' },
});
const never = new AbortController().signal;
const spec = { name: 'web-1', instanceId, runtime: 'host', profile: 'polite' } as const;
const handle = await runtime.start(await runtime.create(spec, never), never);
process.stdout.write(JSON.stringify(handle));
await new Promise(() => setInterval(() => {}, 1_000));

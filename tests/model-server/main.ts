/**
 * `bun tests/model-server/main.ts SCENARIO.json [--port N]`: prints the URL on one line and serves until it
 * is ended.
 */
import { parseArgs } from 'node:util';
import { readScenario } from './scenario.ts';
import { startModelServer } from './server.ts';

const usage = 'usage: bun tests/model-server/main.ts SCENARIO.json [--port N]\n';

function stop(message: string): never {
  process.stderr.write(message);
  process.exit(2);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { port: { type: 'string', default: '0' } },
});
const [file] = positionals;
const port = Number(values.port);
if (file === undefined || !Number.isInteger(port) || port < 0 || port > 65_535) stop(usage);
try {
  const server = startModelServer(readScenario(await Bun.file(file).json()), { port });
  process.stdout.write(`${server.url}\n`);
} catch (thrown) {
  stop(`${file}: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
}

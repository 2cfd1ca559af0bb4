/**
 * The agent client. The process that is started is the holder: options → sessions → network side; a signal
 * ends them in reverse. Started by it with `--network-side`, it is the network side.
 */
import { egress } from './egress.ts';
import type { Shutdown } from './holder.ts';
import { jsonLog } from './log.ts';
import { type Options, readOptions, version } from './options.ts';
import { type Side, startSide } from './side.ts';

/** How long sessions are given when the agent itself is asked to end by a signal. */
const SIGNAL_GRACE_MS = 5_000;

function options(): Options | null {
  try {
    return readOptions(process.argv.slice(2));
  } catch (thrown) {
    process.stderr.write(
      `agent-client: ${thrown instanceof Error ? thrown.message : String(thrown)}\nSee --help.\n`,
    );
    process.exit(2);
  }
}

/** The holder starts one again and again, and says why it cannot. */
function firstSide({ base }: Options): Side | null {
  try {
    return startSide(base);
  } catch {
    return null;
  }
}

async function hold(read: Options): Promise<void> {
  const log = jsonLog(read.logLevel);
  // Before anything else is loaded: it takes as long for what it has to load itself.
  const first = firstSide(read);
  const [{ Holder }, { Sessions }] = await Promise.all([import('./holder.ts'), import('./sessions.ts')]);
  const place = {
    home: read.home,
    workingDir: read.workingDir,
    env: read.childEnv,
    spoolDir: read.spoolDir,
    spoolMemoryBytes: read.spoolMemoryBytes,
    spoolDiskBytes: read.spoolDiskBytes,
  };
  const sessions = new Sessions(read.agentId, place, log);
  let isEnding = false;
  const end = async ({ reason, graceMs }: Shutdown) => {
    if (isEnding) return;
    isEnding = true;
    log('info', 'ending', { reason, grace_ms: graceMs, sessions: sessions.running });
    await holder.end(graceMs);
    process.exit(0);
  };
  log('info', 'agent-client starts', {
    version,
    agent_id: read.agentId,
    server: read.target.address,
    pid: process.pid,
  });
  // Here, so that what sessions have open outlives the network side.
  if (read.egress !== null) egress(read.egress, log);
  const holder = new Holder({
    options: read,
    sessions,
    log,
    firstSide: first,
    onShutdown: (shutdown) => void end(shutdown),
  });
  process.on('SIGHUP', () => holder.renew());
  process.on('SIGUSR2', () => void holder.upgrade());
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => void end({ reason: name, graceMs: SIGNAL_GRACE_MS }));
  }
}

async function main(): Promise<void> {
  // A log that cannot be written, as on a full disk, is no reason to die.
  process.stderr.on('error', () => {});
  const read = options();
  if (!read) return;
  if (!read.isNetworkSide) return await hold(read);
  // gRPC is not for the holder: it would be larger, and there would be more in it that can break.
  const { networkSide } = await import('./network.ts');
  networkSide(read);
}

void main();

/** The agent client: options → sessions → link; a signal ends them in reverse. */

import { egress } from './egress.ts';
import { type Link, link, type Shutdown } from './link.ts';
import { jsonLog } from './log.ts';
import { type Options, readOptions, version } from './options.ts';
import { Sessions } from './sessions.ts';

/** How long sessions are given when the agent itself is asked to end by a signal. */
const SIGNAL_GRACE_MS = 5_000;
/** How long the last results may take to be acknowledged. */
const GOODBYE_MS = 2_000;

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

function main(): void {
  const read = options();
  if (!read) return;
  const log = jsonLog(read.logLevel);
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
  let joined: Link | null = null;
  const end = async ({ reason, graceMs }: Shutdown) => {
    if (isEnding) return;
    isEnding = true;
    log('info', 'ending', { reason, grace_ms: graceMs, sessions: sessions.running });
    await sessions.endAll(graceMs);
    await sessions.settled(GOODBYE_MS);
    await joined?.close();
    process.exit(0);
  };
  log('info', 'agent-client starts', {
    version,
    agent_id: read.agentId,
    server: read.target.address,
    pid: process.pid,
  });
  if (read.egress !== null) egress(read.egress, log);
  joined = link({ options: read, sessions, log, onShutdown: (shutdown) => void end(shutdown) });
  process.on('SIGHUP', () => joined?.renew());
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => void end({ reason: name, graceMs: SIGNAL_GRACE_MS }));
  }
}

main();

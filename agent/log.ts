/**
 * Structured log lines on standard error: one JSON object a line. Values of secrets are never given to it.
 */
export type Log = (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: object) => void;

const order = ['debug', 'info', 'warn', 'error'];

export function jsonLog(least: string): Log {
  const from = Math.max(0, order.indexOf(least));
  return (level, message, fields = {}) => {
    if (order.indexOf(level) < from) return;
    const line = { time: new Date().toISOString(), level, message, ...fields };
    process.stderr.write(`${JSON.stringify(line)}\n`);
  };
}

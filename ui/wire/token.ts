/**
 * The operator token of this tab, if the server asked for one.
 *
 * Lives in sessionStorage: it ends with the tab and is never in a URL or a cookie.
 */
const key = 'agentic.token';

export function token(): string | null {
  return sessionStorage.getItem(key);
}

export function keepToken(value: string | null): void {
  if (value) sessionStorage.setItem(key, value);
  else sessionStorage.removeItem(key);
}

export function authorization(): Record<string, string> {
  const value = token();
  return value ? { authorization: `Bearer ${value}` } : {};
}

/** Browsers cannot set headers on a WebSocket; the token travels as a subprotocol. */
export function socketProtocols(): string[] {
  const value = token();
  return value ? [`bearer.${value}`] : [];
}

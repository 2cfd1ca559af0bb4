/**
 * Where a task's source comes from, and what of it may be said aloud.
 *
 * Every name that reaches git's command line passes here first: nothing that starts with a
 * dash, no remote helper (`ext::`), no control character.
 */

const schemes = ['https:', 'http:', 'ssh:', 'file:'];
const scpLike = /^(?:[A-Za-z0-9._-]+@)[A-Za-z0-9][A-Za-z0-9.-]*:(?![-:/\\])[^\s\\]+$/;

/** What is wrong with a repository's url, with the cure; null when nothing is. Never repeats the url. */
export function urlFault(url: string): string | null {
  if (/\s/.test(url)) return 'holds a blank; write %20 for it';
  if (url.startsWith('/')) return url.includes('\0') ? 'holds a NUL' : null;
  if (scpLike.test(url)) return null;
  const parsed = schemes.some((scheme) => url.startsWith(`${scheme}//`)) ? parse(url) : null;
  if (parsed === null || parsed.pathname.length < 2) {
    return 'is not a repository we can clone: give https://, http://, ssh://, git@host:path, file:// or an absolute path';
  }
  if (parsed.hostname.startsWith('-')) return 'has a host that starts with a dash';
  if (parsed.protocol === 'file:') {
    return ['', 'localhost'].includes(parsed.hostname) ? null : 'names a host; write file:///path';
  }
  return parsed.hostname === '' ? 'names no host' : null;
}

/** True when the url carries a password, or a user name where only a token would stand. */
export function carriesSecret(url: string, hasSecret: boolean): boolean {
  const parsed = parse(url);
  if (parsed === null || parsed.protocol === 'file:') return false;
  if (parsed.password !== '') return true;
  return parsed.protocol !== 'ssh:' && parsed.username !== '' && !hasSecret;
}

export interface PlainRemote {
  /** Without user and password for http(s): safe to log, to store and to give to git. */
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
}

export function plainRemote(url: string): PlainRemote {
  const parsed = scpLike.test(url) || url.startsWith('/') ? null : parse(url);
  if (parsed === null || parsed.protocol === 'file:') return { url, username: null, password: null };
  const username = parsed.username === '' ? null : decode(parsed.username);
  const password = parsed.password === '' ? null : decode(parsed.password);
  parsed.password = '';
  // ssh needs its user name; it is no secret.
  if (parsed.protocol !== 'ssh:') parsed.username = '';
  return { url: username === null && password === null ? url : parsed.href, username, password };
}

/** git's own rules for a branch (check-ref-format), told one by one. */
export function branchFault(branch: string): string | null {
  if (branch.startsWith('-')) return 'starts with a dash';
  if (branch.startsWith('refs/')) return 'is a full reference; give the branch or tag alone, as in "main"';
  if (/[\s~^:?*[\\]|\.\.|@\{|\/\/|\/$|^\/|\.$|\.lock(\/|$)|(^|\/)\./.test(branch) || branch === '@') {
    return 'is not a branch name that git allows';
  }
  return null;
}

export function subpathFault(subpath: string): string | null {
  if (subpath.startsWith('/')) return 'must be relative to the repository';
  if (subpath.includes('\\')) return 'must use / between directories';
  const parts = subpath.replace(/\/$/, '').split('/');
  if (parts.some((part) => part === '..')) return 'must not leave the repository (..)';
  if (parts.some((part) => part === '' || part === '.')) return 'has an empty part; write it as dir/dir';
  return parts.some((part) => part.toLowerCase() === '.git') ? 'must not name .git' : null;
}

function parse(url: string): URL | null {
  try {
    return new URL(url);
  } catch {
    return null; // Not a URL is an answer here.
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // A stray % in a password is the password's own.
  }
}

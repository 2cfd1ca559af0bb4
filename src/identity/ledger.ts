/**
 * What was granted, issued and revoked, in a file of its own (SQLite, synchronous=FULL): when a call returns,
 * it is on the disk.
 *
 * Tokens are kept as hashes. A token is consumed by one statement that changes one row or none, so of two at
 * once exactly one wins, and one that was consumed stays so after a crash.
 */
import { Database } from 'bun:sqlite';
import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ShownCertificate } from '../certificates.ts';
import { Failure } from '../failure.ts';

export interface TokenRow {
  readonly spiffeId: string;
  readonly expiresAt: number;
  readonly consumedAt: number | null;
}

export interface CertificateRow {
  readonly spiffeId: string;
  readonly key: string;
  readonly revokedAt: number | null;
}

export interface Ledger {
  token(hash: string): TokenRow | null;
  addToken(row: { hash: string; spiffeId: string; by: string; at: number; expiresAt: number }): void;
  /** False when it is not there, not good any more, or consumed already. */
  consume(hash: string, at: number): boolean;
  /** Nothing was given for it. */
  giveBack(hash: string): void;
  addCertificate(shown: ShownCertificate, key: string, at: number): void;
  certificate(serial: string): CertificateRow | null;
  /** Every certificate there ever was for a key, as far as it is remembered. */
  ofKey(key: string): readonly CertificateRow[];
  /** How many were issued for an id since then. */
  issuedSince(spiffeId: string, since: number): number;
  /** Whether an id has a certificate that is good at that time, and a token that is. */
  held(spiffeId: string, at: number): { readonly certificate: boolean; readonly token: boolean };
  /** When an id was last revoked, and how often it ever was; null: never. */
  revoked(spiffeId: string): { readonly at: number; readonly count: number } | null;
  revoke(spiffeId: string, why: { at: number; by: string; reason: string }): Counts;
  close(): void;
}

export interface Counts {
  readonly certificates: number;
  readonly tokens: number;
}

/** "AgSI". */
const APPLICATION_ID = 0x41675349;
const SCHEMA_VERSION = 1;
/** Tokens that are good at one time. */
const TOKENS_MAX = 20_000;
/** How long what is of no use any more is remembered, so that a late caller hears the true reason. */
const MEMORY_MS = 86_400_000;
/** No certificate that we do not know lives longer. */
const REVOKED_MEMORY_MS = 400 * 86_400_000;

const schema = [
  `CREATE TABLE token (
     hash TEXT PRIMARY KEY, spiffe_id TEXT NOT NULL, granted_by TEXT NOT NULL, granted_at INTEGER NOT NULL,
     expires_at INTEGER NOT NULL, consumed_at INTEGER
   ) WITHOUT ROWID`,
  'CREATE INDEX token_expires ON token (expires_at)',
  'CREATE INDEX token_of ON token (spiffe_id)',
  `CREATE TABLE certificate (
     serial TEXT PRIMARY KEY, spiffe_id TEXT NOT NULL, key TEXT NOT NULL, issued_at INTEGER NOT NULL,
     until INTEGER NOT NULL, revoked_at INTEGER
   ) WITHOUT ROWID`,
  'CREATE INDEX certificate_until ON certificate (until)',
  'CREATE INDEX certificate_of ON certificate (spiffe_id, issued_at)',
  'CREATE INDEX certificate_key ON certificate (key)',
  `CREATE TABLE revocation (
     spiffe_id TEXT PRIMARY KEY, at INTEGER NOT NULL, count INTEGER NOT NULL, revoked_by TEXT NOT NULL,
     reason TEXT NOT NULL
   ) WITHOUT ROWID`,
];

/** Throws Failure('wrong-state') for a file that is not ours or of a newer server. */
export function openLedger(path: string): Ledger {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  const db = new Database(path, { create: true, readwrite: true, strict: true });
  try {
    prepare(db, path);
  } catch (thrown) {
    db.close();
    throw thrown;
  }
  return ledgerOver(db);
}

function prepare(db: Database, path: string): void {
  const number = (pragma: string) => Object.values(db.query(`PRAGMA ${pragma}`).get() as object)[0] as number;
  const foreign = new Failure('wrong-state', `${path} is no register of certificates; restore or remove it`);
  let application: number;
  try {
    db.run('PRAGMA busy_timeout = 2000');
    db.run('PRAGMA journal_mode = WAL');
    db.run('PRAGMA synchronous = FULL');
    application = number('application_id');
  } catch {
    throw foreign;
  }
  const version = number('user_version');
  if (application === 0 && version === 0) {
    db.transaction(() => {
      for (const statement of schema) db.run(statement);
      db.run(`PRAGMA application_id = ${APPLICATION_ID}`);
      db.run(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    })();
    return;
  }
  if (application !== APPLICATION_ID) throw foreign;
  if (version > SCHEMA_VERSION)
    throw new Failure('wrong-state', `${path} is of a newer server (schema ${version}); start that one`);
}

function ledgerOver(db: Database): Ledger {
  const get = <Row>(sql: string, ...values: (string | number)[]) =>
    db.query<Row, (string | number)[]>(sql).get(...values);
  const run = (sql: string, ...values: (string | number)[]) => db.query(sql).run(...values).changes;
  const forget = (at: number) => {
    run('DELETE FROM token WHERE expires_at < ?', at - MEMORY_MS);
    run('DELETE FROM certificate WHERE until < ?', at - MEMORY_MS);
    run('DELETE FROM revocation WHERE at < ?', at - REVOKED_MEMORY_MS);
  };
  const certificates = 'SELECT spiffe_id AS spiffeId, key, revoked_at AS revokedAt FROM certificate';
  return {
    token: (hash) =>
      get<TokenRow>(
        `SELECT spiffe_id AS spiffeId, expires_at AS expiresAt, consumed_at AS consumedAt
         FROM token WHERE hash = ?`,
        hash,
      ),
    addToken({ hash, spiffeId, by, at, expiresAt }) {
      db.transaction(() => {
        forget(at);
        const good = 'SELECT count(*) AS n FROM token WHERE consumed_at IS NULL AND expires_at > ?';
        if ((get<{ n: number }>(good, at)?.n ?? 0) >= TOKENS_MAX)
          throw new Failure('over-quota', `${TOKENS_MAX} tokens wait to be used; let some expire`);
        run('INSERT INTO token VALUES (?, ?, ?, ?, ?, NULL)', hash, spiffeId, by, at, expiresAt);
      })();
    },
    consume: (hash, at) =>
      run(
        'UPDATE token SET consumed_at = ? WHERE hash = ? AND consumed_at IS NULL AND expires_at > ?',
        at,
        hash,
        at,
      ) === 1,
    giveBack: (hash) => void run('UPDATE token SET consumed_at = NULL WHERE hash = ?', hash),
    addCertificate({ serial, spiffeId, until }, key, at) {
      db.transaction(() => {
        forget(at);
        run('INSERT INTO certificate VALUES (?, ?, ?, ?, ?, NULL)', serial, spiffeId, key, at, until);
      })();
    },
    certificate: (serial) => get<CertificateRow>(`${certificates} WHERE serial = ?`, serial),
    ofKey: (key) => db.query<CertificateRow, [string]>(`${certificates} WHERE key = ?`).all(key),
    issuedSince: (spiffeId, since) =>
      get<{ n: number }>(
        'SELECT count(*) AS n FROM certificate WHERE spiffe_id = ? AND issued_at > ?',
        spiffeId,
        since,
      )?.n ?? 0,
    held(spiffeId, at) {
      const is = (sql: string) => get(`${sql} LIMIT 1`, spiffeId, at) !== null;
      return {
        certificate: is('SELECT 1 FROM certificate WHERE spiffe_id = ? AND revoked_at IS NULL AND until > ?'),
        token: is('SELECT 1 FROM token WHERE spiffe_id = ? AND consumed_at IS NULL AND expires_at > ?'),
      };
    },
    revoked: (spiffeId) =>
      get<{ at: number; count: number }>('SELECT at, count FROM revocation WHERE spiffe_id = ?', spiffeId),
    revoke: (spiffeId, { at, by, reason }) =>
      db.transaction(() => {
        const again =
          'DO UPDATE SET at = excluded.at, count = count + 1, revoked_by = excluded.revoked_by, reason = excluded.reason';
        const insert = 'INSERT INTO revocation VALUES (?, ?, 1, ?, ?) ON CONFLICT (spiffe_id)';
        run(`${insert} ${again}`, spiffeId, at, by, reason);
        const ended = 'SET revoked_at = ? WHERE spiffe_id = ? AND revoked_at IS NULL AND until > ?';
        const certificatesEnded = run(`UPDATE certificate ${ended}`, at, spiffeId, at);
        const used = 'SET consumed_at = ? WHERE spiffe_id = ? AND consumed_at IS NULL AND expires_at > ?';
        return { certificates: certificatesEnded, tokens: run(`UPDATE token ${used}`, at, spiffeId, at) };
      })(),
    close: () => db.close(),
  };
}

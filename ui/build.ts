/**
 * Bundles the dashboard for the server: one page, its script and its styles.
 *
 * Every asset's name carries a hash of its content, so it may be cached for ever; only `/` may not. What was
 * built is kept on disk under a key made from every source, the lockfile and Bun's version, so a second start
 * reads files instead of building. A cache that cannot be written or read only costs time. Needs
 * `dependencies`, no devDependency.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';

export interface Asset {
  readonly body: Uint8Array<ArrayBuffer>;
  /** The Content-Type. */
  readonly type: string;
  /** Quoted, ready for the header. */
  readonly etag: string;
}

export interface BundleOptions {
  /** Where builds are kept; null builds afresh and keeps nothing. */
  readonly cacheDir?: string | null;
}

/** Send it with the page. xterm.js writes `<style>` elements, hence 'unsafe-inline' for styles only. */
export const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self' ws: wss:",
  "font-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const home = import.meta.dirname;
const sourceEndings = /\.(ts|css|html|svg|json)$/;

/** The assets by URL path: `/` is the page, the others are `/assets/<name>-<hash>.<ext>`. */
export async function bundleDashboard(options: BundleOptions = {}): Promise<Map<string, Asset>> {
  const cacheDir =
    options.cacheDir === undefined
      ? join(home, '..', 'node_modules', '.cache', 'dashboard')
      : options.cacheDir;
  if (cacheDir === null) return build();
  const kept = join(cacheDir, await sourceKey());
  const found = await read(kept);
  if (found) return found;
  const built = await build();
  await keep(cacheDir, kept, built);
  return built;
}

async function build(): Promise<Map<string, Asset>> {
  const result = await Bun.build({
    entrypoints: [join(home, 'index.html')],
    target: 'browser',
    minify: true,
    publicPath: '/',
    naming: {
      entry: '[name].[ext]',
      chunk: 'assets/[name]-[hash].[ext]',
      asset: 'assets/[name]-[hash].[ext]',
    },
  });
  const assets = new Map<string, Asset>();
  for (const output of result.outputs) {
    const path = urlPath(output.path.replace(/^\.?\//, ''));
    assets.set(path, asset(new Uint8Array(await output.arrayBuffer()), path));
  }
  return assets;
}

function urlPath(file: string): string {
  return file === 'index.html' ? '/' : `/${file}`;
}

const types: Readonly<Record<string, string>> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  json: 'application/manifest+json',
};

function asset(body: Uint8Array<ArrayBuffer>, path: string): Asset {
  const ending = path.slice(path.lastIndexOf('.') + 1);
  const type = path === '/' ? 'text/html; charset=utf-8' : (types[ending] ?? 'application/octet-stream');
  return { body, type, etag: `"${createHash('sha256').update(body).digest('hex').slice(0, 24)}"` };
}

async function sourceKey(): Promise<string> {
  const hash = createHash('sha256').update(Bun.version);
  const names = (await readdir(home, { recursive: true })).filter(
    (name) => sourceEndings.test(name) && !name.includes('node_modules'),
  );
  for (const name of names.sort()) hash.update(`\0${name}\0`).update(await readFile(join(home, name)));
  for (const lock of ['bun.lock', 'package.json']) {
    hash.update(await readFile(join(home, '..', lock)).catch(() => lock));
  }
  return hash.digest('hex').slice(0, 32);
}

async function read(kept: string): Promise<Map<string, Asset> | null> {
  try {
    const assets = new Map<string, Asset>();
    for (const entry of await readdir(kept, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = join(entry.parentPath, entry.name);
      const path = urlPath(relative(kept, file).replaceAll('\\', '/'));
      assets.set(path, asset(new Uint8Array(await readFile(file)), path));
    }
    return assets.has('/') ? assets : null;
  } catch {
    // Not built yet, or not readable: building is always right.
    return null;
  }
}

/** Written aside and renamed, so that two servers that start together never see half a build. */
async function keep(cacheDir: string, kept: string, assets: ReadonlyMap<string, Asset>): Promise<void> {
  const aside = join(cacheDir, `.${process.pid}-${crypto.randomUUID()}`);
  try {
    await mkdir(join(aside, 'assets'), { recursive: true });
    for (const [path, { body }] of assets)
      await writeFile(join(aside, path === '/' ? 'index.html' : path), body);
    await rename(aside, kept);
    for (const old of await readdir(cacheDir)) {
      if (join(cacheDir, old) !== kept && !old.startsWith('.'))
        await rm(join(cacheDir, old), { recursive: true });
    }
  } catch {
    // A read-only checkout, or another server was first: this start has its assets all the same.
    await rm(aside, { recursive: true, force: true }).catch(() => {});
  }
}

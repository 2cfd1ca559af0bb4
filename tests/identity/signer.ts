/**
 * A program that signs, as an operator would write one against docs/ca-backend.md: it keeps a root in
 * TEST_CA_DIR. `TEST_CA_TRICK` makes it misbehave in one way.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/clock.ts';
import { localAuthority } from '../../src/identity/local-authority.ts';
import { forged, idOf, root } from './ground.ts';

const dir = process.env['AGENTIC_CA_TEST_DIR'] ?? '';
const trickFile = join(dir, 'trick');
const trick = existsSync(trickFile) ? readFileSync(trickFile, 'utf8') : '';
const [verb = ''] = process.argv.slice(2);
const protocol = { major: trick === 'newer' ? 2 : 1, minor: 0 };
const say = (answer: object) => process.stdout.write(`${JSON.stringify(answer)}\n`);

const asked = async () => JSON.parse(await Bun.stdin.text());

async function main(): Promise<void> {
  writeFileSync(join(dir, 'seen-env'), Object.keys(process.env).sort().join('\n'));
  if (trick === 'hang') return void (await Bun.sleep(60_000));
  if (trick === 'flood') return void process.stdout.write('x'.repeat(5 << 20));
  if (trick === 'broken') {
    process.stderr.write('the token of the vault is s3cr3t\n');
    process.exit(7);
  }
  if (trick === 'prose') return void process.stdout.write('certainly!\n');
  if (verb === 'describe') return void say({ protocol, implementation: 'test', implementation_version: '1' });
  if (verb === 'health') return void say({ protocol, state: 'ready' });
  const { request_id, expected_trust_domain: trust_domain, ...wanted } = await asked();
  const authority = await localAuthority({
    dir: join(dir, 'root'),
    trustDomain: trust_domain,
    clock: systemClock,
  });
  const bundle_pem = await authority.trustBundle();
  if (verb === 'trust-bundle')
    return void say({ protocol, request_id, trust_domain, bundle_pem, revision: '1' });
  const { spiffe_id, csr_pem: csr, purpose, names, requested_ttl_seconds: seconds } = wanted;
  const life = trick === 'long' ? 40 * 86_400_000 : seconds * 1_000;
  const forSpiffe = trick === 'other-id' ? idOf('00000000-0000-7000-8000-000000000000') : spiffe_id;
  const made = { csr, spiffeId: forSpiffe, purpose: trick === 'server' ? 'server' : purpose, ttlMs: life };
  const chain = await authority.issue({ ...made, names: trick === 'names' ? ['evil.example'] : names });
  const foreign = trick === 'other-key' ? forged(root(), spiffe_id).cert : chain;
  say({
    protocol,
    request_id: trick === 'other-request' ? 'x' : request_id,
    spiffe_id,
    certificate_chain_pem: foreign,
    bundle_revision: '1',
  });
}

await main();

/** What confines an instance, what it uses, what models cost, and paths of files, in words. */
import { describe, expect, test } from 'bun:test';
import { crumbs, downloadPath, isText, listPath, within } from '../../ui/state/files.ts';
import { hostWords } from '../../ui/state/readings.ts';
import {
  budgetWords,
  limitWords,
  proofWords,
  shortDigest,
  spentWords,
  storageWords,
  wallsMissing,
} from '../../ui/state/walls.ts';
import { agentView, instanceView } from '../http/views.ts';
import { boxed, spent } from './recorded.ts';

describe('walls', () => {
  test('[U19] only limits that are set are told, and an image by enough of its digest', () => {
    const { walls } = boxed();
    if (!walls) throw new Error('it has walls');
    expect(limitWords(walls.limits)).toEqual(['1.5 processors', '1.0 GiB memory', '512 processes']);
    expect(limitWords({ cpus: null, memory_bytes: null, processes: null, disk_bytes: null })).toEqual([]);
    expect(shortDigest(walls.image.digest)).toBe('b2bfd85f72ea');
  });

  test('[U19] where there are none, or none are known, it says which', () => {
    expect(wallsMissing(boxed())).toBeNull();
    expect(wallsMissing(instanceView())).toContain('whatever the user of the server may');
    expect(wallsMissing(instanceView({ runtime: 'container', state: 'provisioning' }))).toContain(
      'once it is made',
    );
    expect(wallsMissing(instanceView({ runtime: 'container', state: 'running' }))).toContain('not known');
  });

  test('[U19] what is used of storage says who holds it to its limit', () => {
    const { storage } = boxed();
    if (!storage) throw new Error('it is measured');
    expect(storageWords(storage)).toBe('3.0 MiB of 50.0 GiB, only uploads are refused beyond it');
    expect(storageWords({ ...storage, limit_bytes: null, enforced_by: 'nobody', at_least: true })).toBe(
      'at least 3.0 MiB, no limit',
    );
  });

  test('[U19] a machine that is called vm is not taken for one, and each proof has its words', () => {
    expect(hostWords(agentView({ hostname: 'vm', ip_address: '10.0.0.2' }))).toBe('hostname vm · 10.0.0.2');
    expect(hostWords(agentView({ hostname: '', ip_address: '' }))).toBe('No facts yet');
    const none = { serial: null, not_after: null };
    expect(proofWords(null)).toBe('not connected');
    expect(proofWords({ kind: 'peer-credentials', ...none })).toContain('kernel');
    expect(proofWords({ kind: 'secret', ...none })).toBe('its secret');
    expect(proofWords({ kind: 'certificate', serial: '5C', not_after: null })).toBe('a certificate');
  });
});

describe('models', () => {
  test('[U21] what was spent says what has no price, and what is left is never less than nothing', () => {
    expect(spentWords(spent())).toBe('12 requests · 24.0k tokens · $0.3750 · 2 requests without a price');
    expect(spentWords(spent({ cost_usd: null, unpriced_requests: 12 }))).toContain(
      'its models have no price',
    );
    expect(budgetWords({ tokens: 100, usd: 1, tokens_left: -5, usd_left: 0.25 })).toBe(
      '$0.2500 of $1.00 · 0 of 100 tokens left',
    );
    expect(budgetWords({ tokens: null, usd: null, tokens_left: null, usd_left: null })).toBe('none');
  });
});

describe('files', () => {
  test('[U20] a path is its bytes, whatever is in it', () => {
    expect(within('', 'a b/ü%.txt')).toBe('a%20b%2F%C3%BC%25.txt');
    expect(within('in', 'x')).toBe('in/x');
    expect(crumbs('a%20b/%FF/c')).toEqual([
      { name: 'a b', raw: 'a%20b' },
      { name: '%FF', raw: 'a%20b/%FF' },
      { name: 'c', raw: 'a%20b/%FF/c' },
    ]);
    expect(crumbs('')).toEqual([]);
    expect(listPath('storage/global', '', null)).toBe('storage/global?limit=200');
    expect(listPath('storage/global', 'a%20b', 'z')).toBe(
      'storage/global?limit=200&raw_path=a%2520b&after=z',
    );
    expect(downloadPath('storage/global', '%FF')).toBe('storage/global/_download?raw_path=%25FF');
  });

  test('[U20] text is told from what is none', () => {
    expect(isText(new TextEncoder().encode('plain\nü'))).toBe(true);
    expect(isText(new Uint8Array([0x7f, 0x45, 0x4c, 0]))).toBe(false);
  });
});

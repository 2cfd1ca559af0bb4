/** What confines an instance, what it uses and what its models cost, in words. Pure. */
import type { InstanceView, ProofView, StorageUseView, TaskView } from '../../src/views.ts';
import type { BudgetView, UsageView } from '../../src/views-usage.ts';
import type { WallsView } from '../../src/views-walls.ts';
import { bytes, count, dollars, plural } from '../words.ts';

/** Enough of a digest to tell two images apart, without its algorithm. */
export const shortDigest = (digest: string): string => digest.replace(/^sha256:/, '').slice(0, 12);

/** Those that are really set, the processor first. */
export function limitWords({ cpus, memory_bytes, processes, disk_bytes }: WallsView['limits']): string[] {
  return [
    cpus === null ? '' : plural(cpus, 'processor'),
    memory_bytes === null ? '' : `${bytes(memory_bytes)} memory`,
    processes === null ? '' : plural(processes, 'process', 'processes'),
    disk_bytes === null ? '' : `${bytes(disk_bytes)} disk`,
  ].filter((words) => words !== '');
}

export const networkWords: Readonly<Record<WallsView['network']['mode'], string>> = {
  isolated: 'isolated: it has none',
  allowlist: 'allowlist: it reaches these and nothing else',
  full: 'full: it reaches whatever this host reaches',
};

/** Why nothing is known of walls; null: something is. */
export function wallsMissing({ walls, runtime, state }: InstanceView): string | null {
  if (walls !== null) return null;
  if (runtime === 'host') return 'None. A process on this host may do whatever the user of the server may.';
  return state === 'provisioning'
    ? 'They are read once it is made.'
    : 'They are not known: it was not made, or by an earlier server. They are read at its next start.';
}

const keepers: Readonly<Record<StorageUseView['enforced_by'], string>> = {
  'file-system': 'the file system refuses more',
  routes: 'only uploads are refused beyond it',
  nobody: 'no limit',
};

export function storageWords(use: StorageUseView): string {
  const used = `${use.at_least ? 'at least ' : ''}${bytes(use.used_bytes)}`;
  const whole = use.limit_bytes === null ? '' : ` of ${bytes(use.limit_bytes)}`;
  return `${used}${whole}, ${keepers[use.enforced_by]}`;
}

export function proofWords(proof: ProofView | null): string {
  if (proof === null) return 'not connected';
  if (proof.kind === 'peer-credentials') return 'the kernel’s word, on this host’s socket';
  return proof.kind === 'secret' ? 'its secret' : 'a certificate';
}

/** What went through the gateway to models, and what it cost as far as that is known. */
export function spentWords(usage: UsageView): string {
  const parts = [plural(usage.requests, 'request'), `${count(usage.total_tokens)} tokens`];
  if (usage.cost_usd !== null) parts.push(dollars(usage.cost_usd));
  const unpriced = usage.unpriced_requests;
  if (unpriced > 0)
    parts.push(
      usage.cost_usd === null ? 'its models have no price' : `${plural(unpriced, 'request')} without a price`,
    );
  return parts.join(' · ');
}

export const tokenWords = (usage: UsageView): string =>
  [
    `${count(usage.input_tokens)} in`,
    `${count(usage.output_tokens)} out`,
    usage.cache_read_tokens > 0 ? `${count(usage.cache_read_tokens)} from the cache` : '',
    usage.cache_write_tokens > 0 ? `${count(usage.cache_write_tokens)} to the cache` : '',
  ]
    .filter((words) => words !== '')
    .join(' · ');

export function budgetWords(budget: BudgetView): string {
  const parts = [
    budget.usd === null ? '' : `${dollars(Math.max(0, budget.usd_left ?? 0))} of ${dollars(budget.usd)}`,
    budget.tokens === null
      ? ''
      : `${count(Math.max(0, budget.tokens_left ?? 0))} of ${count(budget.tokens)} tokens`,
  ].filter((words) => words !== '');
  return parts.length === 0 ? 'none' : `${parts.join(' · ')} left`;
}

/** Whether a task has anything to say of models. */
export const spends = ({ usage, budget }: TaskView): boolean => usage !== null || budget !== null;

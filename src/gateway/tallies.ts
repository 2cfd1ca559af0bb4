/**
 * Counts since this server started, for metrics. Labels are providers, kinds and statuses: nobody's words.
 */
import type { ModelCounts } from '../desk.ts';
import type { Tokens, Use } from '../spending.ts';
import type { Provider } from './dialect.ts';

export interface Tallies {
  answered(provider: Provider, status: number): void;
  used(provider: Provider, use: Use): void;
  counts(): ModelCounts;
}

const words: Readonly<Record<keyof Tokens, string>> = {
  input: 'input',
  output: 'output',
  cacheRead: 'cache_read',
  cacheWrite: 'cache_write',
  cacheWriteLong: 'cache_write',
};

export function tallies(): Tallies {
  const requests = new Map<string, number>();
  const tokens = new Map<string, number>();
  const costs = new Map<string, number>();
  const add = (to: Map<string, number>, key: string, count: number) =>
    void to.set(key, (to.get(key) ?? 0) + count);
  const pairs = (from: Map<string, number>) =>
    [...from].map(([key, count]) => {
      const [provider = '', label = ''] = key.split(' ');
      return { provider, label, count };
    });
  return {
    answered: (provider, status) => add(requests, `${provider} ${status}`, 1),
    used(provider, use) {
      for (const [kind, word] of Object.entries(words) as [keyof Tokens, string][])
        add(tokens, `${provider} ${word}`, use.tokens[kind]);
      add(costs, provider, use.costUsd ?? 0);
    },
    counts: () => ({
      requests: pairs(requests).map(({ provider, label, count }) => ({ provider, status: label, count })),
      tokens: pairs(tokens).map(({ provider, label, count }) => ({ provider, kind: label, count })),
      costUsd: pairs(costs).map(({ provider, count }) => ({ provider, usd: count })),
    }),
  };
}

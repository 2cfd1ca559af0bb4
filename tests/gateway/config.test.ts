/** What the environment says of secrets and models. */
import { describe, expect, test } from 'bun:test';
import { credentialsConfig } from '../../src/config-credentials.ts';

const around = { listen: { host: '127.0.0.1', port: 8120 }, dataDir: '/data' };
const read = (env: Record<string, string>, more = {}) => credentialsConfig(env, { ...around, ...more });

describe('[V9] without a word', () => {
  test('the keys of models, and what was named for the purpose, may be referenced', () => {
    const { secrets } = read({});
    expect(secrets.names).toContain('ANTHROPIC_API_KEY');
    expect(secrets.names).toContain('TASK_*');
    expect(secrets.dirs).toEqual(['/run/secrets', '/data/task-secrets']);
    expect(secrets.commands).toEqual({});
  });

  test('nothing may be, where the operator says nothing but that', () => {
    const { secrets } = read({ AGENTIC_SECRET_ENV: '', AGENTIC_SECRET_DIRS: '' });
    expect([secrets.names, secrets.dirs]).toEqual([[], []]);
  });

  test('a command is an absolute path, and a directory too', () => {
    const path = { AGENTIC_SECRET_COMMAND_VAULT: '/usr/bin/ask', AGENTIC_SECRET_COMMAND_NONE: '' };
    expect(read(path).secrets.commands).toEqual({ VAULT: '/usr/bin/ask' });
    expect(() => read({ AGENTIC_SECRET_COMMAND_VAULT: 'ask me' })).toThrow('AGENTIC_SECRET_COMMAND_VAULT');
    expect(() => read({ AGENTIC_SECRET_DIRS: 'secrets' })).toThrow('AGENTIC_SECRET_DIRS');
  });
});

describe('[V3] models', () => {
  test('are not reached without a key, and with one at their provider or where it is said', () => {
    expect(read({ AGENTIC_ANTHROPIC_BASE_URL: 'http://127.0.0.1:1' }).models.anthropic).toBeNull();
    const { models } = read({
      AGENTIC_ANTHROPIC_API_KEY: 'k',
      AGENTIC_OPENAI_API_KEY: 'file:/k',
      AGENTIC_OPENAI_BASE_URL: 'https://models.example.org/v1/',
    });
    expect(models.anthropic?.baseUrl).toMatch(/^https:/);
    expect(models.openai).toEqual({ baseUrl: 'https://models.example.org/v1', key: 'file:/k' });
  });

  test.each([
    'ftp://example.org',
    'https://user:pass@example.org',
    'https://example.org/?a=b',
    'example.org',
  ])('are not reached at %s', (url) => {
    const env = { AGENTIC_ANTHROPIC_API_KEY: 'k', AGENTIC_ANTHROPIC_BASE_URL: url };
    expect(() => read(env)).toThrow('AGENTIC_ANTHROPIC_BASE_URL');
  });

  test('are offered on the loopback only', () => {
    expect(read({}).models.listen).toEqual({ host: '127.0.0.1', port: 8125 });
    expect(read({}, { listen: { host: '0.0.0.0', port: 0 } }).models.listen).toEqual({
      host: '127.0.0.1',
      port: 0,
    });
    expect(read({ AGENTIC_GATEWAY_LISTEN: '[::1]:9000' }).models.listen).toEqual({
      host: '::1',
      port: 9_000,
    });
    expect(() => read({ AGENTIC_GATEWAY_LISTEN: '0.0.0.0:9000' })).toThrow('not on the loopback');
    expect(() => read({ AGENTIC_GATEWAY_LISTEN: '9000' })).toThrow('is not an address');
  });

  test('a budget is a number, and 0 is none', () => {
    const { budget } = read({ AGENTIC_BUDGET_TOKENS: '5', AGENTIC_BUDGET_USD: '0' }).models;
    expect(budget).toEqual({ tokens: 5, usd: null });
    expect(() => read({ AGENTIC_BUDGET_USD: 'much' })).toThrow('AGENTIC_BUDGET_USD');
  });
});

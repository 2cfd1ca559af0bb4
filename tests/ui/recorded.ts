/** Views as a server with containers and a gateway tells them, held against the schemas of its own API. */
import { getSchemaValidator, type TSchema } from 'elysia';
import * as schemas from '../../src/http/schemas.ts';
import type { InstanceView, TaskView } from '../../src/views.ts';
import type { UsageReport, UsageView } from '../../src/views-usage.ts';
import { instanceView, taskView } from '../http/views.ts';

/** The same, once the schema has nothing against it. */
export function told<T>(schema: TSchema, value: T): T {
  const check = getSchemaValidator(schema, {});
  if (!check.Check(value))
    throw new Error([...check.Errors(value)].map((one) => JSON.stringify(one)).join('\n'));
  return value;
}

export const boxed = (): InstanceView =>
  told(
    schemas.instance,
    instanceView({
      name: 'boxed',
      instance_id: '01a217ef-71f9-7145-b397-eed70e39967d',
      runtime: 'container',
      state: 'running',
      created_at: '2026-11-26T09:00:00.000Z',
      state_changed_at: '2026-11-26T09:00:02.000Z',
      walls: {
        image: { name: 'base', digest: `sha256:b2bfd85f72ea${'8'.repeat(52)}` },
        limits: { cpus: 1.5, memory_bytes: 1_073_741_824, processes: 512, disk_bytes: null },
        network: { mode: 'allowlist', allow: ['example.org', '*.example.net:443'] },
        unenforced: [{ what: 'disk', why: 'the file system of the data directory has no project quotas' }],
      },
      storage: {
        used_bytes: 3_145_728,
        limit_bytes: 53_687_091_200,
        enforced_by: 'routes',
        high: false,
        at_least: false,
        measured_at: '2026-11-26T09:00:00.000Z',
      },
    }),
  );

export const spent = (given: Partial<UsageView> = {}): UsageView => ({
  requests: 12,
  input_tokens: 20_000,
  output_tokens: 3_000,
  cache_read_tokens: 1_000,
  cache_write_tokens: 0,
  total_tokens: 24_000,
  cost_usd: 0.375,
  unpriced_requests: 2,
  ...given,
});

export const usageReport = (agent: string): UsageReport =>
  told(schemas.usageReport, {
    total: spent(),
    days: [{ day: '2026-11-26', ...spent({ requests: 5 }) }],
    models: [{ model: 'a-model', ...spent() }],
    agents: [{ agent_id: agent, ...spent(), days: [{ day: '2026-11-26', model: 'a-model', ...spent() }] }],
    tasks: [],
  });

export const spender = (): TaskView =>
  told(
    schemas.task,
    taskView({
      id: '01a217ef-0000-7000-8000-00000000aaaa',
      name: 'Spends',
      state: 'COMPLETED',
      created_at: '2026-11-26T09:00:00.000Z',
      state_changed_at: '2026-11-26T09:10:00.000Z',
      ended_at: '2026-11-26T09:10:00.000Z',
      usage: spent(),
      budget: { tokens: 100_000, usd: 1, tokens_left: 76_000, usd_left: 0.625 },
    }),
  );

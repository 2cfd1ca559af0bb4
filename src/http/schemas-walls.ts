/** The JSON of what confines an instance and of what it uses (src/views-*.ts), for the OpenAPI document. */
import { type TSchema, t } from 'elysia';
import { integer } from './route.ts';

const orNull = <S extends TSchema>(schema: S) => t.Union([schema, t.Null()]);
const text = t.String();
const words = (names: readonly string[]) => t.String({ enum: [...names] });

export const unenforced = t.Array(
  t.Object({
    what: words(['cpus', 'memory', 'processes', 'disk', 'files', 'network', 'users', 'system-calls']),
    why: text,
  }),
);

export const walls = t.Object(
  {
    image: t.Object({ name: text, digest: text }),
    limits: t.Object(
      {
        cpus: orNull(t.Number()),
        memory_bytes: orNull(integer()),
        processes: orNull(integer()),
        disk_bytes: orNull(integer()),
      },
      { description: 'null: not enforced' },
    ),
    network: t.Object({ mode: words(['isolated', 'allowlist', 'full']), allow: t.Array(text) }),
    unenforced,
  },
  { description: 'what confines it, as it is really set; null until it is made, and where nothing does' },
);

export const instanceUse = t.Object(
  {
    measured_at: t.String({ format: 'date-time' }),
    cpu_percent: orNull(t.Number({ description: 'since the last look, of one processor; 0 at the first' })),
    memory_bytes: orNull(integer()),
    processes: orNull(integer()),
  },
  { description: 'all null: it does not run' },
);

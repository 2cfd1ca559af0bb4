/** Instances, and the same under the names of their runtimes: `vms` and `containers`. */
import { t } from 'elysia';
import type { InstanceDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import type { Limits, RuntimeKind } from '../runtime.ts';
import type { InstanceView } from '../views.ts';
import { type Asked, integer, json, notEmpty, type Route, route, strict } from './route.ts';
import * as schemas from './schemas.ts';
import { instanceUse } from './schemas-walls.ts';

const GRACE_MS_MAX = 600_000;

const wanted = {
  name: t.String({
    minLength: 1,
    maxLength: 63,
    description: 'a lower-case letter, then lower-case letters, digits, dashes',
  }),
  loadout: t.Optional(t.String({ maxLength: 200 })),
  profile: t.Optional(t.String({ maxLength: 200 })),
  labels: t.Optional(t.Record(t.String({ maxLength: 100 }), t.String({ maxLength: 1_000 }))),
  working_dir: t.Optional(
    t.String({
      maxLength: 4_096,
      pattern: '^/',
      description: 'host runtime: an existing absolute directory',
    }),
  ),
  image: t.Optional(
    t.String({
      minLength: 1,
      maxLength: 255,
      pattern: '^[A-Za-z0-9][A-Za-z0-9._/:@-]*$',
      description: 'container runtime: an image that was built (`base`), or one that the engine has',
    }),
  ),
  limits: t.Optional(
    strict({
      cpus: t.Optional(
        t.Number({ exclusiveMinimum: 0, maximum: 1_024, description: "processors' worth of time" }),
      ),
      memory_bytes: t.Optional(integer({ minimum: 1, description: 'swap included' })),
      processes: t.Optional(
        integer({ minimum: 1, maximum: 4_194_304, description: 'and threads, at one time' }),
      ),
      disk_bytes: t.Optional(
        integer({
          minimum: 1,
          description:
            'of home, work, spool and what is lent; 16 MiB at least; 501 where the file system has no project quotas',
        }),
      ),
    }),
  ),
  network: t.Optional(
    strict({
      mode: t.Union([t.Literal('isolated'), t.Literal('allowlist'), t.Literal('full')]),
      allow: t.Optional(
        t.Array(t.String({ maxLength: 300 }), {
          maxItems: 500,
          description:
            'for allowlist: example.org, *.example.org, an address or a block, each with or without :port',
        }),
      ),
    }),
  ),
  start: t.Optional(t.Boolean({ description: 'start it once it is made; true when absent' })),
};

const withRuntime = strict({
  ...wanted,
  runtime: t.Optional(t.Union([t.Literal('host'), t.Literal('container'), t.Literal('vm')])),
});
const withoutRuntime = strict(wanted);
const storage = t.Optional(
  t.Union([t.Literal('keep'), t.Literal('delete')], {
    description: 'what becomes of its files in Agentshare; they stay when absent',
  }),
);
const grace = t.Optional(
  strict({
    grace_ms: t.Optional(integer({ minimum: 0, maximum: GRACE_MS_MAX, description: 'for stop and restart' })),
    storage,
  }),
);

type Wanted = (typeof withoutRuntime)['static'];
type Verb = 'start' | 'stop' | 'restart' | 'reprovision' | 'reset' | 'destroy';

const verbs: readonly (readonly [Verb, string])[] = [
  ['start', 'Starts it, or finds it running'],
  ['stop', 'Ends its sessions and then itself; its files stay'],
  ['restart', 'Stops it and starts it'],
  ['reprovision', 'Makes it anew, with the same name and identity'],
  ['reset', 'Clears `failed` or `crash-looping`'],
  ['destroy', 'Stops it and removes what was made for it, but for its storage'],
];

function make(
  desk: InstanceDesk,
  runtime: RuntimeKind,
  { body, caller }: Pick<Asked<unknown, unknown, Wanted>, 'body' | 'caller'>,
) {
  const { name, loadout, profile, labels, working_dir: workingDir, image, limits, network, start } = body;
  return desk.create(
    {
      name,
      runtime,
      ...(notEmpty(loadout) ? { loadout } : {}),
      ...(notEmpty(profile) ? { profile } : {}),
      ...(labels ? { labels } : {}),
      ...(notEmpty(workingDir) ? { workingDir } : {}),
      ...(notEmpty(image) ? { image } : {}),
      ...(limits ? { limits: limitsOf(limits) } : {}),
      ...(network
        ? { network: { mode: network.mode, ...(network.allow ? { allow: network.allow } : {}) } }
        : {}),
      ...(start === undefined ? {} : { start }),
    },
    caller.name,
  );
}

function limitsOf({ cpus, memory_bytes, processes, disk_bytes }: NonNullable<Wanted['limits']>): Limits {
  return {
    ...(cpus === undefined ? {} : { cpus }),
    ...(memory_bytes === undefined ? {} : { memoryBytes: memory_bytes }),
    ...(processes === undefined ? {} : { processes }),
    ...(disk_bytes === undefined ? {} : { diskBytes: disk_bytes }),
  };
}

interface Act {
  readonly name: string;
  readonly by: string;
  readonly body: (typeof grace)['static'];
}

function act(desk: InstanceDesk, verb: Verb, { name, by, body }: Act) {
  if (verb === 'stop' || verb === 'restart') return desk[verb](name, body?.grace_ms ?? null, by);
  if (verb === 'destroy') return desk.destroy(name, by, body?.storage === 'delete');
  return desk[verb](name, by);
}

/** Instances of one kind under a name of their own; null: all of them. */
interface Family {
  readonly path: string;
  readonly kind: RuntimeKind | null;
  readonly listName: string;
}

const families: readonly Family[] = [
  { path: 'instances', kind: null, listName: 'instances' },
  { path: 'vms', kind: 'vm', listName: 'vms' },
  { path: 'containers', kind: 'container', listName: 'containers' },
];

export const instanceRoutes = (desk: InstanceDesk): Route[] => [
  route({
    method: 'GET',
    path: '/api/v1/instances/probes',
    role: 'viewer',
    tag: 'instances',
    summary: 'Which runtimes work on this host, and why the others do not',
    answers: { 200: json('one entry a runtime', t.Object({ probes: t.Array(schemas.probe) })) },
    run: async () => ({ probes: await desk.probes() }),
  }),
  route({
    method: 'GET',
    path: '/api/v1/instances/:name/usage',
    role: 'viewer',
    tag: 'instances',
    summary:
      'How much processor, memory and processes it uses, measured by its runtime at most every two seconds',
    answers: { 200: json('it', instanceUse) },
    run: ({ params }) => desk.usage(params['name'] ?? ''),
  }),
  ...families.flatMap((family) => familyRoutes(desk, family)),
];

function familyRoutes(desk: InstanceDesk, { path, kind, listName }: Family): Route[] {
  const of = (view: InstanceView | null) => (view && (kind === null || view.runtime === kind) ? view : null);
  const there = (name: string): InstanceView => {
    const view = of(desk.find(name));
    if (view) return view;
    throw new Failure('not-found', `there is no ${kind ?? 'instance'} "${name}"; see GET /api/v1/${path}`);
  };
  const place = { tag: path === 'instances' ? 'instances' : 'vms and containers' };
  const noun = kind ?? 'instance';
  const list = { [listName]: t.Array(schemas.instance), total: integer() };
  return [
    route({
      ...place,
      method: 'GET',
      path: `/api/v1/${path}`,
      role: 'viewer',
      summary: `Every ${noun}`,
      answers: { 200: json('the list', t.Object(list)) },
      run() {
        const found = desk.list().filter((view) => of(view));
        return { [listName]: found, total: found.length };
      },
    }),
    route({
      ...place,
      method: 'POST',
      path: `/api/v1/${path}`,
      role: 'operator',
      summary: `Makes one ${noun}${kind === null ? ' and starts it' : '; 501 with the reasons where this host has no such runtime'}`,
      body: kind === null ? withRuntime : withoutRuntime,
      answers: { 201: json('it is being made', schemas.instance) },
      run: ({ body, caller }) => {
        const { runtime = kind ?? 'host', ...rest } = body as Wanted & { readonly runtime?: RuntimeKind };
        return make(desk, runtime, { body: rest, caller });
      },
    }),
    route({
      ...place,
      method: 'GET',
      path: `/api/v1/${path}/:name`,
      role: 'viewer',
      summary: `One ${noun}`,
      answers: { 200: json('it', schemas.instance) },
      run: ({ params }) => there(params['name'] ?? ''),
    }),
    route({
      ...place,
      method: 'DELETE',
      path: `/api/v1/${path}/:name`,
      role: 'operator',
      summary: `Destroys one ${noun} and what was made for it, but for its storage`,
      query: t.Object({ storage }),
      answers: { 200: json('it is being destroyed', schemas.instance) },
      run: ({ params, query, caller }) =>
        desk.destroy(there(params['name'] ?? '').name, caller.name, query.storage === 'delete'),
    }),
    ...verbs.map(([verb, summary]) =>
      route({
        ...place,
        method: 'POST',
        path: `/api/v1/${path}/:name/${verb}`,
        role: 'operator',
        summary,
        body: grace,
        takes: 'optional-json',
        answers: { 200: json('its new state', schemas.instance) },
        run: ({ params, body, caller }) =>
          act(desk, verb, {
            name: there(params['name'] ?? '').name,
            by: caller.name,
            body,
          }),
      }),
    ),
  ];
}

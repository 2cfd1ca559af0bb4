/** Agentshare, as the doors see it. */
import type { InstanceContext } from '../actors/instance.ts';
import { type Clock, rfc3339, sleep } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Area, Owner } from '../share/area.ts';
import { makeDirs, remove, writeFile } from '../share/change.ts';
import { descend } from '../share/dir.ts';
import { GLOBAL_FILE_MODE, isInstanceId } from '../share/layout.ts';
import { bytesOf, list, openFile, type Seen } from '../share/look.ts';
import { partsOf, plainPartsOf, shown } from '../share/names.ts';
import type { Agentshare } from '../share/store.ts';
import type { StorageArea, StorageDesk, StoragePath, StoredFile } from '../storage.ts';
import { contentType } from '../tasks/content-type.ts';
import { taskDirs } from '../tasks/dirs.ts';
import type { KeptStorageView, StorageEntryView } from '../views.ts';
import { measureOne, type StorageHouse, useView } from './agentshare.ts';

const UPLOADS_MAX = 16;
/** A caller that sends nothing for so long is not waited for. */
const SILENT_MS = 60_000;
const MEASURES_MAX = 2;

interface Desk {
  readonly house: StorageHouse;
  readonly share: Agentshare;
  uploads: number;
  measures: number;
}

const parts = ({ text, raw }: StoragePath): Buffer[] => (raw ? partsOf(text) : plainPartsOf(text));

export function storageDesk(house: StorageHouse): StorageDesk {
  const { share } = house;
  if (share === null) throw new Error('a house without Agentshare has no desk for it');
  const desk: Desk = { house, share, uploads: 0, measures: 0 };
  return {
    async list(area, path, { after, limit }) {
      const from = after === null ? null : (partsOf(after)[0] ?? null);
      const page = await list(await areaOf(desk, area), parts(path), { after: from, limit });
      return { entries: page.entries.map(entryView), next: page.next };
    },
    open: async (area, path) => await opened(await areaOf(desk, area), parts(path)),
    async write(area, path, upload) {
      const where = await writable(desk, area);
      if (desk.uploads >= UPLOADS_MAX) throw new Failure('busy', `${UPLOADS_MAX} files are being uploaded`);
      where.admit(upload.bytes ?? 0);
      const bytesMax = house.config.agentshare.uploadBytesMax;
      if ((upload.bytes ?? 0) > bytesMax)
        throw new Failure('too-large', `a file has at most ${bytesMax} bytes here`);
      desk.uploads += 1;
      try {
        const body = heard(house.clock, upload.body);
        const written = await writeFile(where, parts(path), { ...upload, body, bytesMax });
        share.wrote(keyOf(desk, area), written.sizeBytes);
        return written;
      } finally {
        desk.uploads -= 1;
      }
    },
    async makeDir(area, path) {
      const where = await writable(desk, area);
      return await makeDirs(where, parts(path));
    },
    async remove(area, path, isDeep) {
      return await remove(await writable(desk, area), parts(path), isDeep);
    },
    usage: (area, signal) => usage(desk, area, signal),
    kept: () => kept(desk),
    async removeKept(id, by) {
      const facts = isInstanceId(id) ? await share.facts(id) : null;
      if (facts === null)
        throw new Failure('not-found', `there is no storage "${id}"; see GET /api/v1/storage/kept`);
      if (liveIds(house).has(id)) {
        throw new Failure('wrong-state', `instance ${facts.name} is there; destroy it with storage=delete`);
      }
      await share.drop(id, true);
      house.log.info('storage removed', { instance: facts.name, instance_id: id, by });
    },
  };
}

const liveIds = ({ fleet }: StorageHouse): Set<string> =>
  new Set(
    fleet
      .specs()
      .filter(({ kind, live }) => kind === 'instance' && live)
      .flatMap(({ id }) => (fleet.context(id) as InstanceContext | null)?.spec.instanceId ?? []),
  );

/** Throws Failure('not-found') for an instance that is neither there nor has left anything. */
function instanceIdOf({ fleet }: StorageHouse, of: string): string {
  if (isInstanceId(of)) return of;
  const id = `instance:${of}`;
  const context = fleet.isLive(id) ? (fleet.context(id) as InstanceContext | null) : null;
  if (context !== null) return context.spec.instanceId;
  const cure = 'what destroyed ones left is in GET /api/v1/storage/kept, and is reached by its id';
  throw new Failure('not-found', `there is no instance "${of}"; ${cure}`);
}

/** Under which its usage is known. */
const keyOf = ({ house }: Desk, area: StorageArea): string =>
  area.kind === 'instance' ? instanceIdOf(house, area.of) : area.kind === 'global' ? 'global' : '';

async function areaOf(desk: Desk, wanted: StorageArea): Promise<Area> {
  const { house, share } = desk;
  const { layout } = share;
  const key = keyOf(desk, wanted);
  const ours = { owner: null, fileMode: 0o644, dirMode: 0o755 };
  const admit = (bytes: number) => share.admit(key, bytes);
  if (wanted.kind === 'global') {
    const { global: root, globalStaging: staging } = layout;
    return { ...ours, fileMode: GLOBAL_FILE_MODE, name: 'global storage', root, staging, admit };
  }
  const name = `${wanted.leaf} of ${wanted.of}`;
  if (wanted.kind === 'task') {
    const dirs = taskDirs(house.config.agentshare.root, wanted.of);
    return {
      ...ours,
      name: `${wanted.leaf} of task ${wanted.of}`,
      root: dirs[wanted.leaf],
      staging: '',
      admit() {},
    };
  }
  const place = layout.place(key);
  const root = place[wanted.leaf];
  return { ...ours, ...(await modesOf(root)), name, root, staging: place.staging, admit };
}

/** A leaf that is another user's: what we put there is to be that user's too, or anybody's below our base. */
async function modesOf(root: string): Promise<Partial<Area>> {
  const dir = await descend(root, []);
  if (dir === null) return {};
  const { uid, gid, mode } = await dir.handle.stat().finally(() => dir.handle.close());
  if ((mode & 0o002) !== 0) return { fileMode: 0o666, dirMode: 0o777 };
  const us = process.getuid?.() ?? 0;
  const owner: Owner | null = us === 0 && uid !== us ? { uid, gid } : null;
  return { owner };
}

async function writable(desk: Desk, area: StorageArea): Promise<Area> {
  if (area.kind === 'task') {
    const why = 'the files of a task are its own; hand it things by its repository, or by an inbox';
    throw new Failure('forbidden', why);
  }
  return await areaOf(desk, area);
}

const entryView = (seen: Seen): StorageEntryView => ({
  name: seen.name,
  path: seen.path,
  raw_path: seen.rawPath,
  kind: seen.kind,
  size_bytes: seen.sizeBytes,
  mode: seen.mode.toString(8).padStart(4, '0'),
  modified: rfc3339(seen.modifiedAt),
  links: seen.links,
  target: seen.target,
});

async function opened(area: Area, path: readonly Buffer[]): Promise<StoredFile> {
  const { handle, ...facts } = await openFile(area, path);
  const name = shown(path.at(-1) ?? Buffer.from('file'));
  return {
    ...facts,
    name,
    contentType: contentType(name),
    read: (range) => bytesOf(handle, range),
    close: () => handle.close(),
  };
}

/** A body whose sender goes silent ends in Failure('timed-out'). */
async function* heard(clock: Clock, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const parts = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const stop = new AbortController();
      const silent = sleep(clock, SILENT_MS, stop.signal).then(() => {
        throw new Failure('timed-out', `nothing came for ${SILENT_MS / 1_000} s; the file is not there`);
      });
      silent.catch(() => {});
      const part = await Promise.race([parts.next(), silent]).finally(() => stop.abort());
      if (part.done) return;
      yield part.value;
    }
  } finally {
    void parts.return?.();
  }
}

async function usage(desk: Desk, area: StorageArea, signal: AbortSignal) {
  const { house, share } = desk;
  if (desk.measures >= MEASURES_MAX) throw new Failure('busy', 'usage is being measured already; ask again');
  const key = keyOf(desk, area);
  desk.measures += 1;
  try {
    const spec =
      area.kind === 'instance' && !isInstanceId(area.of)
        ? (house.fleet.context(`instance:${area.of}`) as InstanceContext).spec
        : null;
    const use = spec ? await measureOne(house, share, { spec, signal }) : await share.measure(key, signal);
    if (use === null) throw new Failure('not-found', 'nothing is stored there');
    return useView(use);
  } finally {
    desk.measures -= 1;
  }
}

async function kept({ house, share }: Desk): Promise<KeptStorageView[]> {
  const live = liveIds(house);
  return (await share.all())
    .filter(({ instanceId }) => !live.has(instanceId))
    .map(({ instanceId, name, createdAt }) => {
      const use = share.use(instanceId);
      const storage = use === null ? null : useView(use);
      return { instance_id: instanceId, name, created_at: rfc3339(createdAt), storage };
    });
}

/** What confines a container, read from what the engine says of it. */
import type Docker from 'dockerode';
import type { InstanceSpec, Limits, NetworkMode, Walls } from '../runtime.ts';
import type { Disk } from './container-disk.ts';
import { IMAGE_DEFAULT } from './container-images.ts';
import { inside, labelOf } from './container-spec.ts';
import { type Engine, unenforcedBy } from './engine.ts';

/** As it was asked for, from the label that it was given. */
export const specIn = (labels: Readonly<Record<string, string>>): InstanceSpec =>
  JSON.parse(labels[labelOf.spec] ?? '{}') as InstanceSpec;

export function wallsOf(engine: Engine, there: Docker.ContainerInspectInfo, disk: Disk): Walls {
  const spec = specIn(there.Config.Labels);
  const mode = modeOf(there);
  const digest = there.Image.startsWith('sha256:') ? there.Image : `sha256:${there.Image}`;
  return {
    image: { name: spec.image ?? IMAGE_DEFAULT, digest },
    limits: {
      ...limitsSet(engine, there.HostConfig),
      ...(disk.bytes === null ? {} : { diskBytes: disk.bytes }),
    },
    network: { mode, ...(mode === 'allowlist' ? { allow: spec.network?.allow ?? [] } : {}) },
    unenforced: unenforcedBy(engine, disk.why),
  };
}

/** What an engine keeps of a limit that it cannot enforce is none; 0 is its word for none. */
function limitsSet({ limits }: Engine, host: Docker.HostConfig): Limits {
  const { NanoCpus: nanoCpus, Memory: memory, PidsLimit: processes } = host;
  return {
    ...(limits.cpus && nanoCpus ? { cpus: nanoCpus / 1e9 } : {}),
    ...(limits.memory && memory ? { memoryBytes: memory } : {}),
    ...(limits.processes && processes && processes > 0 ? { processes } : {}),
  };
}

/** Without a network the proxy's socket is the only way out. */
function modeOf({ HostConfig: host, Mounts: mounts }: Docker.ContainerInspectInfo): NetworkMode {
  if (host.NetworkMode !== 'none') return 'full';
  return mounts.some(({ Destination }) => Destination === inside.egress) ? 'allowlist' : 'isolated';
}

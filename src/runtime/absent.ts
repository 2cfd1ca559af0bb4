/**
 * Runtimes that this version does not have, looked for all the same: the probe says what the machine has,
 * what it lacks, and what to do until then.
 */
import { accessSync, constants, existsSync } from 'node:fs';
import type { Clock } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Probe, Runtime } from '../runtime.ts';

/** How long an engine may take to answer. */
const ANSWER_MS = 2_000;
const INSTEAD = 'create the instance with runtime "host" instead';

export interface AbsentOptions {
  /** Where programs are looked for. */
  readonly path: string;
  /** Of the server's user, for rootless sockets: `/run/user/<uid>` or what XDG_RUNTIME_DIR says. */
  readonly runtimeDir: string | null;
  /** DOCKER_HOST and CONTAINER_HOST, as far as they are set. */
  readonly engineHosts: readonly string[];
  readonly clock: Clock;
}

export function absentRuntime(kind: 'container' | 'vm', options: AbsentOptions): Runtime {
  const probe = async (): Promise<Probe> => ({
    runtime: kind,
    available: false,
    isolation: kind === 'vm' ? 'hardware-virtualized' : 'shared-kernel',
    reasons: [
      `this version of agentic-sandbox has no ${kind} runtime yet; ${INSTEAD}`,
      ...(kind === 'vm' ? machineFacts(options) : await engineFacts(options)),
    ],
  });
  const refuse = async (): Promise<never> => {
    throw new Failure('not-implemented', (await probe()).reasons.join('; '));
  };
  return {
    kind,
    probe,
    inventory: async () => [],
    check: refuse,
    create: refuse,
    start: refuse,
    stop: refuse,
    destroy: refuse,
    recover: async () => false,
    watch: () => () => {},
    usage: async () => null,
    shares: null,
  };
}

/** Which engines answer on their socket; a socket that is only there does not count. */
async function engineFacts(options: AbsentOptions): Promise<readonly string[]> {
  const rootless = options.runtimeDir
    ? [`${options.runtimeDir}/docker.sock`, `${options.runtimeDir}/podman/podman.sock`]
    : [];
  const named = options.engineHosts.flatMap((host) => (host.startsWith('unix://') ? [host.slice(7)] : []));
  const sockets = [...new Set([...named, ...rootless, '/var/run/docker.sock', '/run/podman/podman.sock'])];
  const answers = await Promise.all(
    sockets.filter((path) => existsSync(path)).map((path) => answerOf(path, options.clock)),
  );
  if (answers.length > 0) return answers;
  const programs = ['docker', 'podman'].filter((program) => Bun.which(program, { PATH: options.path }));
  return programs.length > 0
    ? [
        `${programs.join(' and ')} installed, but no engine has a socket here; ` +
          'start it, for instance with `systemctl --user start podman.socket`',
      ]
    : ['neither Docker nor Podman is installed; install one of them, rootless for choice'];
}

async function answerOf(socket: string, clock: Clock): Promise<string> {
  const late = new AbortController();
  const timer = clock.setTimeout(() => late.abort(new Error(`silent for ${ANSWER_MS} ms`)), ANSWER_MS);
  try {
    const reply = await fetch('http://localhost/version', { unix: socket, signal: late.signal });
    const version = (await reply.json()) as { Version?: string };
    return `an engine answers on ${socket} (version ${version.Version ?? 'unknown'})`;
  } catch (thrown) {
    return `no engine answers on ${socket} (${thrown instanceof Error ? thrown.message : thrown})`;
  } finally {
    clock.clearTimeout(timer);
  }
}

function machineFacts({ path }: AbsentOptions): readonly string[] {
  const has = (program: string) => Bun.which(program, { PATH: path }) !== null;
  const qemu = ['qemu-system-x86_64', 'qemu-system-aarch64'].find(has);
  return [
    kvmFact(),
    qemu ? `QEMU is installed (${qemu})` : 'QEMU is not installed; install qemu-system',
    has('virsh')
      ? 'libvirt is installed (virsh)'
      : 'libvirt is not installed; install libvirt-daemon-system and libvirt-clients',
  ];
}

function kvmFact(): string {
  if (!existsSync('/dev/kvm'))
    return '/dev/kvm is not there: switch virtualisation on in the firmware, or guests are emulated';
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return '/dev/kvm can be opened; whether it runs a guest is found out when the runtime comes';
  } catch {
    return '/dev/kvm is there but not for this user; add it to the group kvm';
  }
}

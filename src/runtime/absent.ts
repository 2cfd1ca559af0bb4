/**
 * A runtime that this version does not have, looked for all the same: the probe says what the machine has,
 * what it lacks, and what to do until then.
 */
import { accessSync, constants, existsSync } from 'node:fs';
import { Failure } from '../failure.ts';
import type { Probe, Runtime } from '../runtime.ts';

const INSTEAD = 'create the instance with runtime "host" instead';

export interface AbsentOptions {
  /** Where programs are looked for. */
  readonly path: string;
}

export function absentRuntime(kind: 'vm', options: AbsentOptions): Runtime {
  const probe = async (): Promise<Probe> => ({
    runtime: kind,
    available: false,
    isolation: 'hardware-virtualized',
    unenforced: [],
    reasons: [
      `this version of agentic-sandbox has no ${kind} runtime yet; ${INSTEAD}`,
      ...machineFacts(options),
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

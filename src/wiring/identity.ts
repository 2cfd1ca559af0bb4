/**
 * Who an agent is: the id it claims must be the id its transport proves.
 *
 * On plain loopback that is a secret, made for one instance, handed over in a file that only its user can
 * read. On the Unix socket it is the kernel's word: the process is of the agent of the instance it claims to
 * be, and not of what that agent runs. Elsewhere it is a certificate: its SPIFFE id names the instance, in
 * our trust domain, and it is not revoked.
 */
import { timingSafeEqual } from 'node:crypto';
import { access, chmod, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Fleet } from '../actors/fleet.ts';
import type { InstanceContext } from '../actors/instance.ts';
import type { Proof } from '../agent-link.ts';
import type { Register } from '../certificates.ts';
import { Failure } from '../failure.ts';
import { instanceNamePattern, newSecret } from '../ids.ts';

export interface Secrets {
  /** Makes the secret of an instance, or finds it; returns the path of its file, mode 0600. */
  issue(name: string): Promise<string>;
  revoke(name: string): Promise<void>;
  /** True from a revocation on, until a new secret is issued, as when the instance is started again. */
  isRevoked(name: string): Promise<boolean>;
  matches(name: string, token: string): Promise<boolean>;
}

/** An empty file, on the disk with its name when it resolves. */
async function marked(path: string): Promise<void> {
  await writeFile(path, '', { mode: 0o600, flush: true });
  const dir = await open(dirname(path), 'r');
  await dir.sync().finally(() => dir.close());
}

/** One file an instance, in the instance's own directory under `root`. */
export function fileSecrets(root: string): Secrets {
  const pathOf = (name: string) => join(root, name, 'secret');
  const markOf = (name: string) => `${pathOf(name)}.revoked`;
  const read = (name: string) =>
    readFile(pathOf(name), 'utf8').then(
      (text) => text.trim(),
      () => null,
    );
  const isRevoked = (name: string) =>
    access(markOf(name)).then(
      () => true,
      () => false,
    );
  return {
    isRevoked,
    async issue(name) {
      const path = pathOf(name);
      if (!(await isRevoked(name)) && (await read(name))) return path;
      await mkdir(join(root, name), { recursive: true, mode: 0o700 });
      // Whole or not at all: an agent may read it at any moment.
      await writeFile(`${path}.new`, `${newSecret()}\n`, { mode: 0o600 });
      await chmod(`${path}.new`, 0o600);
      await rename(`${path}.new`, path);
      await rm(markOf(name), { force: true });
      return path;
    },
    async revoke(name) {
      // Where there is no folder any more there is nobody to keep out.
      await marked(markOf(name)).catch((thrown: NodeJS.ErrnoException) => {
        if (thrown.code !== 'ENOENT') throw thrown;
      });
      await rm(pathOf(name), { force: true });
    },
    async matches(name, token) {
      const secret = await read(name);
      // A crash may have left both; then it is revoked.
      if (!secret || (await isRevoked(name))) return false;
      const [mine, theirs] = [Buffer.from(secret), Buffer.from(token)];
      return mine.length === theirs.length && timingSafeEqual(mine, theirs);
    },
  };
}

export interface Identity {
  readonly secrets: Secrets;
  readonly fleet: () => Fleet;
  /** What a process is to an instance on this host, by the kernel's word; null: to none. */
  readonly kinOf: (pid: number) => { readonly instance: string; readonly isAgent: boolean } | null;
  /** The user this server runs as. */
  readonly uid: number;
  readonly certificates: Pick<Register, 'standing'>;
}

/** The effect behind `AgentListener.admit`. Throws Failure('unauthenticated' | 'forbidden' | 'bad-input'). */
export const admission =
  ({ secrets, fleet, kinOf, uid, certificates }: Identity) =>
  async (proof: Proof, agent: string, instanceId: string): Promise<void> => {
    if (!instanceNamePattern.test(agent)) {
      throw new Failure(
        'bad-input',
        `"${agent}" is no agent id: a lower-case letter, then lower-case letters, digits, dashes`,
      );
    }
    const instance = fleet().isLive(`instance:${agent}`)
      ? (fleet().context(`instance:${agent}`) as InstanceContext | null)
      : null;
    const own = instance?.spec.instanceId;
    await proven({ proof, agent, own: own ?? null });
    if (own && instanceId && instanceId !== own) {
      throw new Failure('forbidden', `agent ${agent} belongs to instance ${own} and not to ${instanceId}`);
    }
    if (instance && ['destroying', 'destroyed'].includes(stateOf(fleet(), agent))) {
      throw new Failure('forbidden', `instance ${agent} is being destroyed`);
    }

    async function proven(claim: { proof: Proof; agent: string; own: string | null }): Promise<void> {
      switch (claim.proof.kind) {
        case 'secret':
          if (await secrets.matches(agent, claim.proof.token)) return;
          throw new Failure('unauthenticated', `that is not the secret of agent ${agent}`);
        case 'peer': {
          const { uid: theirs, pid } = claim.proof;
          if (theirs !== uid)
            throw new Failure('forbidden', `user ${theirs} may not connect agents to this server`);
          if (claim.own !== null && (await secrets.isRevoked(agent)))
            throw new Failure(
              'unauthenticated',
              `the identity of ${agent} was revoked; restart its instance to give it a new one`,
            );
          const kin = kinOf(pid);
          if (kin === null && claim.own === null) return;
          if (kin?.instance === agent && kin.isAgent) return;
          const whose = kin ? `${kin.instance}${kin.isAgent ? '' : ', whose agent runs it'},` : 'no instance';
          throw new Failure('forbidden', `process ${pid} belongs to ${whose} and claims to be ${agent}`);
        }
        case 'certificate': {
          const { instanceId: proved } = certificates.standing(claim.proof);
          if (proved === claim.own) return;
          throw new Failure(
            'forbidden',
            `${claim.proof.spiffeId} is not agent ${agent}, which it claims to be`,
          );
        }
        case 'none':
          throw new Failure(
            'unauthenticated',
            `agent ${agent} has not proven who it is; start it with AGENT_SECRET_FILE, or let it enrol`,
          );
      }
    }
  };

const stateOf = (fleet: Fleet, agent: string) =>
  (fleet.view(`instance:${agent}`) as { state?: string } | null)?.state ?? '';

/** Who the files of a container's user belong to outside, and who can give and take them. */
import type { Owner } from './container-files.ts';
import { AGENT_UID } from './container-spec.ts';
import { type Engine, engineFailure } from './engine.ts';

/** As root, on an engine without user namespaces, the user inside is the same outside. */
export function ownerOf(engine: Engine, image: string): Owner {
  const isRoot = process.getuid?.() === 0;
  const uid = isRoot && !engine.hasUserNamespace ? AGENT_UID : null;
  return { uid, help: (what, dir) => help({ engine, image }, what, dir) };
}

/** A container that lives for one command on one directory. `image` needs a shell, chown and find. */
async function help(
  { engine, image }: { readonly engine: Engine; readonly image: string },
  what: 'give' | 'take' | 'empty',
  dir: string,
): Promise<void> {
  // Rootless, root inside is the server's user outside.
  const us = engine.isRootless ? '0:0' : `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  const command = {
    give: ['chown', '-hR', `${AGENT_UID}:${AGENT_UID}`, '/mnt'],
    take: ['chown', '-hR', us, '/mnt'],
    empty: ['find', '/mnt', '-mindepth', '1', '-delete'],
  }[what];
  const { docker } = engine;
  try {
    const made = await docker.createContainer({
      Image: image,
      User: '0:0',
      Entrypoint: command,
      Cmd: [],
      HostConfig: {
        NetworkMode: 'none',
        ReadonlyRootfs: true,
        CapDrop: ['ALL'],
        CapAdd: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER'],
        SecurityOpt: ['no-new-privileges:true'],
        Mounts: [{ Type: 'bind', Source: dir, Target: '/mnt', ReadOnly: false }],
      },
    });
    try {
      await made.start();
      const { StatusCode: code } = (await made.wait()) as { StatusCode: number };
      if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}`);
    } finally {
      await made.remove({ force: true, v: true });
    }
  } catch (thrown) {
    throw engineFailure(`${what} ${dir}`, thrown);
  }
}

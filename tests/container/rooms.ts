/** A whole server of the end-to-end tests, whose instances are containers of this tier's engine. */
import type { InstanceView } from '../../src/views.ts';
import { type House, openHouse, until } from '../e2e/house.ts';
import { docker, engineSocket, imagesDir } from './ground.ts';

export const openRooms = (name: string, env: Readonly<Record<string, string>> = {}): Promise<House> =>
  openHouse(name, {
    DOCKER_HOST: `unix://${engineSocket}`,
    AGENTIC_IMAGES_DIR: imagesDir,
    AGENTIC_FIRST_INSTANCE: '',
    ...env,
  });

export const containersOf = ({ dataDir }: House) =>
  docker.listContainers({ all: true, filters: { label: [`agentic-sandbox.data-dir=${dataDir}`] } });

/** With every container that it made. */
export async function closeRooms(house: House): Promise<void> {
  const { instances } = await house.get<{ instances: InstanceView[] }>('instances');
  for (const { name } of instances)
    await fetch(new URL(`api/v1/instances/${name}`, `${house.url()}/`), { method: 'DELETE' });
  await until('every container to be gone', async () => (await containersOf(house)).length === 0);
  // A container goes before the files of its user do.
  await until('every instance to be gone', async () => {
    const left = (await house.get<{ instances: InstanceView[] }>('instances')).instances;
    return left.every(({ state }) => state === 'destroyed');
  });
  await house.close();
}

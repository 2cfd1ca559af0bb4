/** Images for containers: what was built, whether it still is what was built, and what is in it. */
import { t } from 'elysia';
import type { ImageDesk } from '../desk.ts';
import { integer, json, type Route, route } from './route.ts';

const tag = 'images';
const fields = {
  name: t.String(),
  tag: t.String(),
  image_id: t.String({ description: 'sha256:…, the same in every engine' }),
  size_bytes: integer({ description: 'of its archive' }),
  built_at: t.String({ format: 'date-time' }),
  layers: integer(),
  components: integer({ description: 'packages in its SBOM' }),
};
const image = t.Object(fields);
const verified = t.Object({ ...fields, trouble: t.Union([t.String(), t.Null()]) });

export const imageRoutes = (desk: ImageDesk): Route[] => [
  route({
    method: 'GET',
    path: '/api/v1/images',
    role: 'viewer',
    tag,
    summary: 'Images that `bun run images:build` made; an engine may have others, which can be named too',
    answers: { 200: json('by name; empty when nothing was built', t.Object({ images: t.Array(image) })) },
    run: async () => ({ images: await desk.list() }),
  }),
  route({
    method: 'POST',
    path: '/api/v1/images/:name/verify',
    role: 'operator',
    tag,
    summary: 'Reads archive and SBOM, and compares them with the sums of the build; seconds',
    answers: { 200: json('`trouble` is null when they are as they were built', verified) },
    run: ({ params }) => desk.verify(params['name'] ?? ''),
  }),
  route({
    method: 'GET',
    path: '/api/v1/images/:name/sbom',
    role: 'viewer',
    tag,
    summary: 'What is in it, as SPDX 2.3',
    answers: { 200: { description: 'the document', schema: null, contentType: 'application/spdx+json' } },
    run: async ({ params }) =>
      new Response(await desk.sbom(params['name'] ?? ''), {
        headers: { 'content-type': 'application/spdx+json' },
      }),
  }),
];

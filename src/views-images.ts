/** An image that was built here, as the outside sees it (src/views.ts). */
export interface ImageView {
  name: string;
  tag: string;
  /** `sha256:…`, the same in every engine. */
  image_id: string;
  /** Of its archive. */
  size_bytes: number;
  built_at: string;
  layers: number;
  /** Packages in its SBOM. */
  components: number;
}

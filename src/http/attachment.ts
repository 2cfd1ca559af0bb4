/** What somebody else made, handed out: never shown as a page of ours. */
const percent = (one: string): string => `%${one.charCodeAt(0).toString(16).toUpperCase()}`;

/** A download of that name (RFC 6266). */
export const attachmentHeaders = (file: string): Record<string, string> => ({
  'content-disposition': `attachment; filename="${file.replace(/[^\x20-\x7e]|["\\]/g, '_')}"; filename*=UTF-8''${encodeURIComponent(file.toWellFormed()).replace(/['()*]/g, percent)}`,
  'x-content-type-options': 'nosniff',
  'content-security-policy': "sandbox; default-src 'none'",
});

/** Whether the caller has it already, by what it says in `header`. */
export const isNamed = (header: string | null, etag: string): boolean =>
  (header ?? '')
    .split(',')
    .map((one) => one.trim())
    .some((one) => one === '*' || one.replace(/^W\//, '') === etag);

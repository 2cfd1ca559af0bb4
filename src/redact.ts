/** Takes operator tokens out of text that is written or shown: whoever reads it shall not have them. */

/** What every operator token begins with. */
export const TOKEN_PREFIX = 'asb_';

const token = new RegExp(`${TOKEN_PREFIX}[A-Za-z0-9_-]{20,}`, 'g');

export const withoutTokens = (text: string): string =>
  text.includes(TOKEN_PREFIX) ? text.replace(token, '[redacted]') : text;

/**
 * Takes the tokens of operators and the one-time ones of agents out of text that is written or shown: whoever
 * reads it shall not have them.
 */

/** What every operator token begins with. */
export const TOKEN_PREFIX = 'asb_';

const token = /asbt?_[A-Za-z0-9_-]{20,}/g;

export const withoutTokens = (text: string): string =>
  text.includes('asb') ? text.replace(token, '[redacted]') : text;

#!/bin/sh
# An agent that tries what it can do with the directories that it was given.
out="$AGENTSHARE_OUTBOX/said"
global="$AGENTSHARE_GLOBAL"
try() {
  what="$1"
  shift
  if "$@" 2>/dev/null; then echo "$what: done"; else echo "$what: refused"; fi
}
{
  echo "read $(cat "$global/tool")"
  echo "inbox $AGENTSHARE_INBOX"
  try 'new file' sh -c "echo x > '$global/new'"
  try 'old file' sh -c "echo x >> '$global/tool'"
  try 'by the link' sh -c "echo x > '$HOME/global/new'"
  try 'made writable' chmod 777 "$global/tool"
  try 'removed' rm "$global/tool"
} > "$out"
: > "$AGENTSHARE_OUTBOX/done"
trap 'exit 0' TERM
while :; do sleep 0.05; done

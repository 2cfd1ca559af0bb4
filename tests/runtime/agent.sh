#!/bin/sh
# A small agent for the runtime's tests: what it does is chosen by AGENT_PROFILE.
env > "$HOME/env.txt"
ls -l /proc/self/fd > "$HOME/fd.txt"
case "$AGENT_PROFILE" in
  stubborn) trap '' TERM ;;
  family)
    sleep "1$AGENT_LOADOUT" &
    setsid sleep "2$AGENT_LOADOUT" &
    setsid env -i PATH="$PATH" sleep "3$AGENT_LOADOUT" &
    (setsid sleep "4$AGENT_LOADOUT" &) ;;
  loud) i=0; while [ $i -lt 200 ]; do printf '%01023d\n' "$i"; i=$((i + 1)); done ;;
  exits) while [ ! -e "$HOME/go" ]; do sleep 0.02; done; exit 7 ;;
esac
[ "$AGENT_PROFILE" = stubborn ] || trap 'echo ended politely; exit 0' TERM
echo ready > "$HOME/ready"
while :; do sleep 0.05; done

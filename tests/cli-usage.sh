#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Help, options, operands and exit statuses, without any machine.
. "$(dirname "$0")/lib/cli.bash"

msb --version
is "--version succeeds" "$status" 0
like "--version names the program" "$out" '^msb [0-9]+\.[0-9]+'
msb -V
is "-V succeeds" "$status" 0
msb --help
is "--help succeeds" "$status" 0
for group in Sandboxes Images Installation Other; do
    like "--help has the group $group" "$out" "$group:"
done
unlike "--help hides internal commands" "$out" __complete
msb
is "no command is a usage error" "$status" 2
msb --tree
is "--tree succeeds" "$status" 0
like "--tree shows subcommands" "$out" '    kernel.*
        import'

while read -r command; do
    # shellcheck disable=SC2086
    msb $command --help
    is "msb $command --help succeeds" "$status" 0
    like "msb $command --help shows the usage" "$out" "^Usage: msb $command"
    is "msb $command --help says nothing on stderr" "$err" ""
    # shellcheck disable=SC2086
    msb $command --no-such-option
    is "msb $command refuses an unknown option" "$status" 2
    like "msb $command names the unknown option" "$err" "error: unknown option '--no-such-option'"
done < <(list_commands)

msb frobnicate
is "an unknown command is a usage error" "$status" 2
like "an unknown command is named" "$err" "error: there is no command 'frobnicate'"
like "an unknown command gets a hint" "$err" 'hint: '
msb stat
like "a similar command is proposed" "$err" "did you mean 'msb start'"
msb image frobnicate
is "an unknown subcommand is a usage error" "$status" 2
msb image
is "a missing subcommand is a usage error" "$status" 2

# Options of later work are not taken silently.
for option in -p=80:80 --port=80:80 --no-net --net=public --from-snapshot=x --secret=A@b --rm; do
    msb run "$option" image
    is "run refuses $option" "$status" 2
done
like "--rm is explained" "$err" "a sandbox without a name is always removed"

msb run --memory
is "a missing value is a usage error" "$status" 2
like "a missing value is named" "$err" '--memory wants a value'
for bad in --memory=lots -m=-1 --cpus=many --cpus=-1 --root-disk=x --timeout=soon --accel=hvf --pull=sometimes; do
    msb run "$bad" image
    is "run refuses $bad" "$status" 2
done
msb run --detach=yes image
is "a flag takes no value" "$status" 2
msb run -v /nonexistent-place image
is "a mount without a target is refused" "$status" 2
like "a bad mount is quoted" "$err" "/nonexistent-place"
msb run --mount-dir /nonexistent-place:/x image
is "a mount of what is not there is refused" "$status" 2
msb run --env-file /nonexistent image
is "a missing file of variables is refused" "$status" 2
msb ls --error --debug
is "two log levels exclude each other" "$status" 2
msb ls surplus
is "a surplus operand is a usage error" "$status" 2
like "a surplus operand is named" "$err" surplus
msb exec
is "a missing operand is a usage error" "$status" 2
msb exec box
is "a missing command is a usage error" "$status" 2
msb logs --tail=few box
is "--tail wants a number" "$status" 2
msb logs '--grep=(' box
is "a bad expression is a usage error" "$status" 2
msb logs --source=console --json box
is "--json goes with the log of commands only" "$status" 2
msb ls --format=xml
is "an unknown format is a usage error" "$status" 2

# Options after operands, clusters, and where the guest's command line begins.
msb exec box -u nobody sh -c --no-such-option
is "options of the guest's command are left alone" "$status" 1
like "the sandbox is looked for" "$err" "box"
msb exec --user=nobody -t box -- --no-such-option
is "what follows -- is left alone" "$status" 1
msb exec -dt box true
is "letters can be joined" "$status" 1
msb exec -unobody -- box
is "a value can follow its letter; -- begins the command, so the name is missing" "$status" 2
done_testing

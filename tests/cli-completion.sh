#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Bash completion, as the program answers and as bash uses it.
. "$(dirname "$0")/lib/cli.bash"

# answers WORD...: what the program proposes for the last word.
answers() {
    "$MSB_PROGRAM" __complete $(($# - 1)) -- "$@" | tr '\n' ' '
}

like "commands" "$(answers msb "")" "^run create .*completion $"
unlike "hidden commands are not proposed" "$(answers msb "")" __complete
is "subcommands" "$(answers msb image "")" "ls inspect history tag prune rm pull push "
like "options of the program" "$(answers msb -)" "--tree"
like "options of a command" "$(answers msb run --)" "--name= .*--help"
is "words of an option" "$(answers msb logs --source "")" "exec console supervisor "
is "words of an option with an equals sign" "$(answers msb logs --source=)" "exec console supervisor "
is "files" "$(answers msb load "")" ":files "
is "files for an option" "$(answers msb run --env-file "")" ":files "
is "directories" "$(answers msb kernel import --modules "")" ":dirs "
is "nothing for free text" "$(answers msb run --name "")" ""
is "where a mount comes from" "$(answers msb run --mount-dir /usr)" ":dirs :nospace "
is "nothing for where it goes to" "$(answers msb run --mount-dir /usr:/m)" ""
like "the options of a mount" "$(answers msb run --mount-dir /usr:/mnt:)" "^/usr:/mnt:ro .*/usr:/mnt:cache= .*:nospace $"
unlike "of this kind of mount" "$(answers msb run --mount-dir /usr:/mnt:)" "fstype"
is "a value of one" "$(answers msb run -v /usr:/mnt:cache=)" \
    "/usr:/mnt:cache=auto /usr:/mnt:cache=none /usr:/mnt:cache=always :nospace "
is "a switch has two" "$(answers msb run --mount-file /etc/passwd:/mnt:xattr=o)" \
    "/etc/passwd:/mnt:xattr=on /etc/passwd:/mnt:xattr=off :nospace "
is "a value behind another option" "$(answers msb run --volume=/usr:/mnt:ro,stat-virt=o)" "/usr:/mnt:ro,stat-virt=off :nospace "
is "a number is not proposed" "$(answers msb run -v /usr:/mnt:inodes=)" ":nospace "
unlike "what was given is not proposed again" "$(answers msb run -v /usr:/mnt:rw,cache=none,)" ",(ro|rw|cache=) "
is "the size of a tmpfs" "$(answers msb run --tmpfs /tmp:size)" "/tmp:size= :nospace "
is "an option behind it" "$(answers msb run --tmpfs /tmp:1G:noe)" "/tmp:1G:noexec :nospace "
is "nothing for the guest's command" "$(answers msb exec box ls -)" ""
is "nothing after --" "$(answers msb run image -- -)" ""
is "an unknown command has none" "$(answers msb frobnicate "")" ""
mkdir -p "$MSB_HOME/kernel"
"$MSB_PROGRAM" kernel ls >/dev/null
for version in 6.1.0-1-test 6.1.0-2-test; do
    mkdir -p "$MSB_HOME/kernel/$version"
    touch "$MSB_HOME/kernel/$version/vmlinux" "$MSB_HOME/kernel/$version/modules.erofs"
    echo '{"version": 1, "kernel": "'$version'", "created": 0, "boot_modules": []}' >"$MSB_HOME/kernel/$version/bundle.json"
done
is "kernels" "$(answers msb kernel rm "")" "6.1.0-1-test 6.1.0-2-test "

# Through bash: complete LINE prints what would be proposed.
complete_line() {
    env PATH="$(dirname "$MSB_PROGRAM"):$PATH" bash --norc -c '
        shopt -s extglob progcomp
        compopt() { :; }
        COMP_WORDBREAKS=" =:"
        . "$1"
        COMP_LINE=$2 COMP_POINT=${#2}
        # As readline does, with = and : splitting words.
        mapfile -t COMP_WORDS < <(grep -oE "[=:]+|[^ =:]+" <<<"$COMP_LINE")
        [[ $COMP_LINE == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _msb
        echo "${COMPREPLY[@]}"' - "$abs_top_srcdir/data/completions/msb" "$1"
}
is "bash: a command" "$(complete_line "msb doc")" "doctor"
is "bash: an option" "$(complete_line "msb run --mount-d")" "--mount-dir= --mount-disk="
is "bash: a kernel" "$(complete_line "msb kernel default 6.1.0-2")" "6.1.0-2-test"
is "bash: a value after an equals sign" "$(complete_line "msb run --accel=k")" "kvm"
is "bash: all values after an equals sign" "$(complete_line "msb run --accel=")" "kvm tcg"
is "bash: an option of a mount" "$(complete_line "msb run -v /usr:/mnt:ro,host")" "ro,host-perms="
is "bash: its value" "$(complete_line "msb run --mount-dir=/usr:/mnt:ro,cache=al")" "always"
is "bash: a word behind such words" "$(complete_line "msb run -v /usr:/mnt:ro --pull=never --accel ")" "kvm tcg"
touch "$work/archive.tar"
is "bash: a file" "$(complete_line "msb load $work/arch")" "$work/archive.tar"
msb completion bash
is "completion bash prints the script" "$out" "$(cat "$abs_top_srcdir/data/completions/msb")"
msb completion tcsh
is "completion of another shell is a usage error" "$status" 2
done_testing

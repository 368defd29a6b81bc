/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An agent that runs nothing: it speaks the protocol on a descriptor and acts
 * out what argv[0] names, well-behaved or not.
 *
 *   echo TEXT...      the words to stdout, exit 0       err TEXT    to stderr, exit 3
 *   exit N            exit N                            die N       ended by signal N
 *   cat               stdin to stdout until its end     missing     cannot be started
 *   flood BYTES       so many bytes to stdout           deaf        never takes stdin
 *   sleep             until a signal                    stubborn    until SIGKILL
 *   undead            for ever
 *   raw HEX...        the bytes to stdout, one frame per word
 *   size              prints each new window size, until a signal
 *   overrun garbage badexit badcredit toolong            what a hostile guest would send
 *   swamp             after SIGUSR1 much output, without ever reading what comes back, then exit 0
 *   strangers         frames about sessions that do not exist, then exit 0
 */
#ifndef FAKE_AGENT_H
#define FAKE_AGENT_H

/* Serve until the peer closes.  Does not return. */
void fake_agent_run(int fd) __attribute__((noreturn));

/* Log and fail to boot with far too many words, for a terminal to obey.  Does not return. */
void fake_agent_fail_to_boot(int fd) __attribute__((noreturn));

/* Byte i of what "flood" writes. */
#define FLOOD_BYTE(i) ((unsigned char)((i) * 31 + ((i) >> 8)))

#endif

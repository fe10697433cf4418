//! The texts that stand behind the list of options.

/// Behind the short list.
pub(super) const SHORT: &str = "\
Examples:
  app | bufferedwriter write --path out --temp out/.tmp --create-dirs
  app | bufferedwriter write --config /etc/app-log.toml --compress zstd

Exit codes: 0 all is in visible files, 1 failed, 2 wrong usage, 3 lines missing
--help explains all options, signals, crashes and full disks.";

/// Behind the long list.
pub(super) const LONG: &str = "\
Examples:
  A pipe into files of an hour, compressed, for 30 days:
    app | bufferedwriter write --path /var/log/app --temp /var/log/app/.tmp --create-dirs \\
      --rotate-at hour --file-age 0 --compress zstd --retain-age 30days
  Behind a server that must not stall, and may be killed:
    bufferedwriter write --path /var/log/www --temp /var/log/www/.tmp --crash-proof --when-full drop --quiet
  What holds, and where it comes from:
    bufferedwriter config --config /etc/app-log.toml

Sizes are bytes, or have a unit: 8192, 8KB (1000), 64KiB (1024), 1.5GiB. Durations have a unit: 100ms, 1.5s, \
1h30m, 30days; 0 needs none.

Configuration: Each option may stand in the file of --config (TOML), with _ in place of -: `file_size = \"1GiB\"`. \
The environment has it in capitals: BUFFEREDWRITER_FILE_SIZE. Flags come before the environment, and that before \
the file. A flag without a value, such as --create-dirs, is `true` there; --create-dirs=false takes it back.

Lines: Each line is one record and lies whole in one file. CRLF is kept. A last line without a newline gets \
one, so every visible file holds whole lines. A line longer than the writer's memory, (queue-size + workers) \
x size, is reported with its number and refused; reading continues. Within a file, lines are in the order of \
the input. With one worker this holds across files too, in the order of their names. A chunk is --size bytes \
of memory that one thread fills.

Disk limits: --min-free and --max-total are checked at the start and then about once a second, less often \
for large directories. While a limit is reached, lines wait or are dropped (--when-full). Lines that are \
already in memory are still written. What --retain-bytes, --retain-files and --retain-age delete is deleted \
before lines wait.

Signals: After SIGTERM or SIGINT the program reads on to the end of the input for --grace, and at least to the \
end of the line. A line whose end does not come within a second of silence is published as it is, with a \
newline, and reported. No byte of the next line is read, so another process can read on from the same pipe. \
Then all that was read is published within --deadline. A second signal, 0.1 s later or more, gives up at once. \
With --until-eof the first signal does nothing. \
SIGHUP and SIGUSR1 publish all lines now, and reading continues. With --config they also read the file again: --min-free, \
--max-total, the --retain options and --on-publish change at once, others with the next start. Signals that are ignored at the start, as by nohup, stay \
ignored; those that are blocked are unblocked.

Published files: --on-publish runs one command at a time, in the order in which the files of each worker were \
published. The environment has BUFFEREDWRITER_FILE, _ID, _RECORDS, _BYTES, _FIRST, _LAST and _REASON. An exit \
status other than 0 is tried again, with pauses of 0.1 s to 30 s; the lines go on meanwhile. At the end the \
program waits for the commands within --deadline. The next program with the same --path, --temp and --prefix \
goes on with the rest, also after a kill: so a command may run twice for a file.

Left-over files: If an earlier program with the same --path, --temp and --prefix was killed, its lines are \
published in the background and reported. See `bufferedwriter recover --help`.

Crashes: Without --crash-proof, a killed program loses the lines that are not yet in a file. With it, all \
memory is allocated at the start, in /dev/shm or in the given directory. A container has 64 MB in /dev/shm by \
default (docker run --shm-size). In both cases lines that still wait in the pipe are lost.

Output: Messages, progress (only on a terminal) and the summary go to standard error. If \
nobody reads it, reading and publishing go on. Messages beyond 64 KiB are then dropped, and their number is \
told. The end waits for a reader up to a second for each message, and up to 10 for all. With --json the summary \
goes to standard output, and the end waits for its reader within --deadline.

Exit codes:
  0  all lines that were read are in visible files, also after a signal
  1  an input, a file or a directory failed, or --json could not be written; all lines that were
     read are in visible files
  2  an option or its value is wrong; nothing was read
  3  lines were refused or lost (takes precedence over 1)";

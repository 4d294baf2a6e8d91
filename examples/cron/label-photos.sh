#!/bin/sh
# Brings the labels of a folder up to date, and says nothing if all is well.
#
#     label-photos.sh PHOTOS ROWS.csv LABELS.txt [more options of clipcli classify]
#
# ROWS.csv has a row for every photograph, ROWS-new.csv those that are new or changed since the last
# run, ROWS.log what was said. For a crontab, a systemd timer and a container, see the files beside.
set -eu

if [ $# -lt 3 ]; then
    echo "usage: $0 PHOTOS ROWS.csv LABELS.txt [OPTIONS]" >&2
    exit 2
fi
photos=$1 rows=$2 labels=$3
shift 3

code=0
said=$(clipcli classify "$photos" --labels-file "$labels" --update --output "$rows" \
    --new-rows "${rows%.csv}-new.csv" --log "${rows%.csv}.log" --quiet "$@" 2>&1) || code=$?

# 4: the run before is still at work, and will have done it. 3: all labelled but what is named here,
# which cron mails, as it does what ended a run. A folder that is empty or gone, as a disk that is
# not mounted, is 1, and changes nothing.
[ "$code" = 4 ] && exit 0
[ -z "$said" ] || printf '%s\n' "$said" >&2

# what is to be done with new photographs goes here; the first line is a header
# [ "$(wc -l <"${rows%.csv}-new.csv")" -le 1 ] || your-program "${rows%.csv}-new.csv"

exit "$code"

"""Reads an output of statline as another program would, and prints the bytes of each path in hexadecimal, a line each."""

import base64
import csv
import json
import os
import sys

form, name, column = sys.argv[1:4]
paths = []
if form == "jsonl":
    with open(name, encoding="utf-8", newline="\n") as file:
        for line in file:
            row = json.loads(line)
            if column in row:
                paths.append(row[column].encode("utf-8"))
            elif column + "_b64" in row:
                paths.append(base64.b64decode(row[column + "_b64"], validate=True))
elif form == "csv":
    # A table has its bytes as they are, which is no text in any encoding.
    with open(name, encoding="utf-8", errors="surrogateescape", newline="") as file:
        for row in csv.DictReader(file, strict=True):
            if row[column]:
                paths.append(os.fsencode(row[column]))
elif form == "nul":
    with open(name, "rb") as file:
        content = file.read()
    assert content == b"" or content.endswith(b"\0")
    paths = content.split(b"\0")[:-1]
else:
    sys.exit("unknown form")
sys.stdout.write("".join(path.hex() + "\n" for path in paths))

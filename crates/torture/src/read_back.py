"""Reads an output of statline as another program would, and prints the bytes of each path in hexadecimal, a line each."""

import base64
import csv
import json
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
    with open(name, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, strict=True):
            assert not (row[column] and row[column + "_b64"])
            if row[column]:
                paths.append(row[column].encode("utf-8"))
            elif row[column + "_b64"]:
                paths.append(base64.b64decode(row[column + "_b64"], validate=True))
elif form == "nul":
    with open(name, "rb") as file:
        content = file.read()
    assert content == b"" or content.endswith(b"\0")
    paths = content.split(b"\0")[:-1]
else:
    sys.exit("unknown form")
sys.stdout.write("".join(path.hex() + "\n" for path in paths))

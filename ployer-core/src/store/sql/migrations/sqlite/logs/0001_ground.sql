-- Build output, in a file of its own: it is large, and may be lost in a crash of the machine.

CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    deployment_id TEXT NOT NULL UNIQUE,
    -- How many lines were left out of the middle, and between which numbers: those do not come back.
    left_out INTEGER NOT NULL DEFAULT 0 CHECK (left_out >= 0),
    left_out_from INTEGER,
    left_out_to INTEGER
) STRICT;

-- A line's number is its place: the same one is stored once. Times are nanoseconds since 1970, for lines are many.
CREATE TABLE log_lines (
    log INTEGER NOT NULL REFERENCES logs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number > 0),
    at INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (log, number)
) STRICT, WITHOUT ROWID;

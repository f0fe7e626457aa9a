# Edits what cbindgen wrote: chapters get headings, short comments one line, constants of one kind stand together,
# negative ones get parentheses, and `_Noreturn` goes to the front, where C wants it.

# kind DEFINE: what the constants of a group share. The status codes are one group.
function kind(define,    words) {
    split(define, words, /[ _]/)
    return words[3] ~ /^(OK|E[A-Z]+)$/ ? "status" : words[3]
}

function flush_comment(    one) {
    one = comment
    if (lines == 3) {
        sub(/\/\*\*\n *\* /, "/** ", one)
        sub(/\n *\*\/$/, " */", one)
        if (length(one) > 110) one = comment
    }
    if (comment != "") print one
    comment = ""
}

/^ *\/\*\*$/ { comment = $0; lines = 1; inside = 1; next }
inside {
    sub(/ \* # Safety$/, " * Safety:")
    comment = comment "\n" $0
    lines++
    if ($0 ~ /^ *\*\/$/) inside = 0
    next
}

/^void CHAPTER_/ {
    sub(/^\/\*\*\n \* /, "/* ---- ", comment)
    sub(/\n \*\/$/, " ---- */", comment)
    print "\n" comment
    comment = ""
    blank = 0
    next
}

/^$/ { blank = 1; next }

{
    if (blank && !(/^#define GOROUTINE_[A-Z]/ && kind($0) == last)) print ""
    blank = 0
    last = /^#define GOROUTINE_[A-Z]/ ? kind($0) : ""
    flush_comment()
    if (/^#define [A-Z_]+ -[0-9]+$/) sub(/-[0-9]+$/, "(&)")
    if (sub(/ GOROUTINE_NORETURN;$/, ";")) $0 = "GOROUTINE_NORETURN " $0
    print
}

# Completion of pvectl in elvish; written by `pvectl completion elvish`.
# It only asks the program: what can be typed is decided there, so this need not change with it.
use str
fn @FUNCTION@ {|@words|
    tmp E:PVECTL_COMPLETE = elvish
    try {
        (external @PROGRAM@) $@words 2>/dev/null | from-lines | each {|line|
            if (eq $line ':files') {
                edit:complete-filename $@words
            } else {
                var value end shown = (str:split "\t" $line)
                edit:complex-candidate $value &code-suffix=$end &display=$shown
            }
        }
    } catch {
        nop
    }
}
for name [@NAMES@] {
    set edit:completion:arg-completer[$name] = $@FUNCTION@~
}

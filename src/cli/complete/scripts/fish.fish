# Completion of pvectl in fish; written by `pvectl completion fish`.
# It only asks the program: what can be typed is decided there, so this need not change with it.
function @FUNCTION@
    set -lx PVECTL_COMPLETE fish
    set -l before (commandline --current-process --tokenize --cut-at-cursor)
    set -l last (commandline --current-token --cut-at-cursor)
    set -l lines (@PROGRAM@ $before "$last" 2>/dev/null)
    if test "$lines[1]" = ':files'
        __fish_complete_path "$last"
    else if test (count $lines) -gt 0
        printf '%s\n' $lines
    end
end
for name in @NAMES@
    complete --command $name --no-files --keep-order --arguments '(@FUNCTION@)'
end

#compdef @NAMES@
# Completion of pvectl in zsh; written by `pvectl completion zsh`.
# It only asks the program: what can be typed is decided there, so this need not change with it.
@FUNCTION@() {
    local line
    local -a lines whole begun
    lines=("${(@f)$(PVECTL_COMPLETE=zsh @PROGRAM@ "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    if [[ $lines[1] == :files ]]; then
        compset -P '*='
        _files
        return
    fi
    for line in $lines; do
        # The first letter says whether the word ends here or goes on.
        case $line in
            w*) whole+=("${line#w}") ;;
            b*) begun+=("${line#b}") ;;
        esac
    done
    (( $#whole )) && _describe -V value whole
    (( $#begun )) && _describe -V value begun -S ''
    return 0
}
if [[ $funcstack[1] == @FUNCTION@ ]]; then
    @FUNCTION@ "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef @FUNCTION@ @NAMES@
fi

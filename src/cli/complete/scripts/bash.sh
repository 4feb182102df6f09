# Completion of pvectl in bash; written by `pvectl completion bash`.
# It only asks the program: what can be typed is decided there, so this need not change with it.
@FUNCTION@() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(PVECTL_COMPLETE=bash @PROGRAM@ "${COMP_LINE:0:COMP_POINT}" "$2" "${COMP_TYPE:-9}" 2>/dev/null)
    if [[ ${COMPREPLY[0]-} == :files ]]; then
        COMPREPLY=()
        compopt +o nospace -o default 2>/dev/null
    fi
}
if [[ ${BASH_VERSINFO[0]} -gt 4 || ${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -ge 4 ]]; then
    complete -o nospace -o nosort -F @FUNCTION@ @NAMES@
else
    complete -o nospace -F @FUNCTION@ @NAMES@
fi

# Completion of pvectl in Nushell; written by `pvectl completion nushell`.
# It only asks the program: what can be typed is decided there, so this need not change with it.
# Nushell has one completer for all programs: the one that was there before is asked for all others.
$env.config.completions.external.enable = true
$env.config.completions.external.completer = (do {
    let earlier = $env.config.completions.external.completer?
    {|spans: list<string>|
        if ($spans | first | path basename) in [@NAMES@] {
            let answer = (with-env { PVECTL_COMPLETE: nushell } { ^@PROGRAM@ ...$spans } | complete)
            if $answer.exit_code == 0 { $answer.stdout | from json } else { null }
        } else if $earlier != null {
            do $earlier $spans
        } else {
            null
        }
    }
})

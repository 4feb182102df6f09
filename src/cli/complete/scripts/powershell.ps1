# Completion of pvectl in PowerShell; written by `pvectl completion powershell`.
# It only asks the program: what can be typed is decided there, so this need not change with it.
Register-ArgumentCompleter -Native -CommandName @NAMES@ -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    # Older versions drop empty arguments, so every word has a colon in front.
    $words = @()
    foreach ($element in $commandAst.CommandElements) {
        if ($element.Extent.EndOffset -lt $cursorPosition) {
            if ($element -is [System.Management.Automation.Language.StringConstantExpressionAst]) {
                $words += ':' + $element.Value
            } else {
                $words += ':' + $element.Extent.Text
            }
        }
    }
    $words += ':' + $wordToComplete
    $earlier = $env:PVECTL_COMPLETE
    $env:PVECTL_COMPLETE = 'powershell'
    try {
        $lines = @(& @PROGRAM@ @words 2>$null)
    } catch {
        $lines = @()
    } finally {
        $env:PVECTL_COMPLETE = $earlier
    }
    foreach ($line in $lines) {
        $value, $shown, $about = $line -split "`t", 3
        [System.Management.Automation.CompletionResult]::new($value, $shown, 'ParameterValue', $about)
    }
}

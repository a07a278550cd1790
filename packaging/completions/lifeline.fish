# Completion of lifeline for fish. The program itself knows the words: see
# tasks/complete.go.
function __lifeline_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($typed[1] --complete $typed[2..-1] "$current" 2>/dev/null)
    switch "$lines[1]"
        case 'command *'
            set -l n (string replace 'command ' '' -- $lines[1])
            complete -C (string join ' ' -- (string escape -- $typed[(math $n + 1)..-1]) "$current")
        case files
            __fish_complete_path "$current"
        case directories
            __fish_complete_directories "$current"
        case '*'
            printf '%s\n' $lines[2..-1]
    end
end
complete -c lifeline -f -a '(__lifeline_complete)'

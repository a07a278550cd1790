# Completion of lifeline for bash. The program itself knows the words: see
# tasks/complete.go.
_lifeline() {
	local line=${COMP_LINE:0:COMP_POINT} words kind i
	COMPREPLY=()
	# Not COMP_WORDS: bash has taken names with a colon or an @ apart there.
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	local current=${words[${#words[@]}-1]}
	local lines
	mapfile -t lines < <("${words[0]/#\~/$HOME}" --complete "${words[@]:1}" 2>/dev/null)
	kind=${lines[0]}
	case $kind in
	"command "*)
		if declare -F _command_offset >/dev/null; then
			for ((i = 0; i < COMP_CWORD; i++)); do
				[[ ${COMP_WORDS[i]} == -- ]] && break
			done
			_command_offset $((i + 1))
		elif [[ $kind == "command $((${#words[@]} - 1))" ]]; then
			mapfile -t COMPREPLY < <(compgen -c -- "$current")
		else
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$current")
		fi
		return
		;;
	files | directories)
		compopt -o filenames
		if [[ $kind == files ]]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$current")
		else
			mapfile -t COMPREPLY < <(compgen -d -- "$current")
		fi
		return
		;;
	esac
	# What bash takes for a word of its own stands there already.
	local breaks=${COMP_WORDBREAKS//[^:=@]/} head=
	[[ -n $breaks && $current == *[$breaks]* ]] && head=${current%"${current##*[$breaks]}"}
	for ((i = 1; i < ${#lines[@]}; i++)); do
		COMPREPLY+=("${lines[i]%%$'\t'*}")
		COMPREPLY[i-1]=${COMPREPLY[i-1]#"$head"}
	done
}
complete -F _lifeline lifeline

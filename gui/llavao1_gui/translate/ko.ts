<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="ko_KR" sourcelanguage="en_US">
<context>
    <name>AboutDialog</name>
    <message>
        <source>About</source>
        <translation>정보</translation>
    </message>
    <message>
        <source>LLaVA-o1 on your own computer: it looks at a picture, reasons in four stages, and shows how it got there.</source>
        <translation>내 컴퓨터의 LLaVA-o1: 그림을 보고 네 단계로 추론하며, 어떻게 답에 이르렀는지 보여 줍니다.</translation>
    </message>
    <message>
        <source>**No telemetry, no network.** Pictures, questions and answers stay on this computer. Only fetching a model, when you ask for it, uses the network.</source>
        <translation>**원격 수집도 네트워크도 없습니다.** 그림과 질문, 답은 이 컴퓨터에만 남습니다. 요청했을 때 모델을 내려받는 경우에만 네트워크를 씁니다.</translation>
    </message>
    <message>
        <source>Licences:</source>
        <translation>라이선스:</translation>
    </message>
    <message>
        <source>Close</source>
        <translation>닫기</translation>
    </message>
</context>
<context>
    <name>Actions</name>
    <message>
        <source>&amp;File</source>
        <translation>파일(&amp;F)</translation>
    </message>
    <message>
        <source>&amp;Picture</source>
        <translation>그림(&amp;P)</translation>
    </message>
    <message>
        <source>&amp;Answer</source>
        <translation>답(&amp;A)</translation>
    </message>
    <message>
        <source>&amp;View</source>
        <translation>보기(&amp;V)</translation>
    </message>
    <message>
        <source>&amp;Tools</source>
        <translation>도구(&amp;T)</translation>
    </message>
    <message>
        <source>&amp;Help</source>
        <translation>도움말(&amp;H)</translation>
    </message>
    <message>
        <source>Open pictures…</source>
        <translation>그림 열기…</translation>
    </message>
    <message>
        <source>Paste a picture</source>
        <translation>그림 붙여넣기</translation>
    </message>
    <message>
        <source>Screenshot of the screen</source>
        <translation>화면 전체 캡처</translation>
    </message>
    <message>
        <source>Screenshot of a region</source>
        <translation>화면 영역 캡처</translation>
    </message>
    <message>
        <source>New conversation</source>
        <translation>새 대화</translation>
    </message>
    <message>
        <source>Export the conversation…</source>
        <translation>대화 내보내기…</translation>
    </message>
    <message>
        <source>Quit</source>
        <translation>끝내기</translation>
    </message>
    <message>
        <source>Ask about a part</source>
        <translation>일부분에 대해 묻기</translation>
    </message>
    <message>
        <source>Ask about the whole picture</source>
        <translation>그림 전체에 대해 묻기</translation>
    </message>
    <message>
        <source>What the model sees</source>
        <translation>모델이 보는 것</translation>
    </message>
    <message>
        <source>Next picture</source>
        <translation>다음 그림</translation>
    </message>
    <message>
        <source>Previous picture</source>
        <translation>이전 그림</translation>
    </message>
    <message>
        <source>Put all pictures away</source>
        <translation>사진 모두 치우기</translation>
    </message>
    <message>
        <source>Go to the question</source>
        <translation>질문으로 가기</translation>
    </message>
    <message>
        <source>Stop</source>
        <translation>멈추기</translation>
    </message>
    <message>
        <source>Ask again with another seed</source>
        <translation>다른 시드로 다시 묻기</translation>
    </message>
    <message>
        <source>Copy the answer</source>
        <translation>답 복사</translation>
    </message>
    <message>
        <source>Show the candidates</source>
        <translation>후보 보기</translation>
    </message>
    <message>
        <source>Compare answers…</source>
        <translation>답 비교…</translation>
    </message>
    <message>
        <source>Search conversations</source>
        <translation>대화 찾기</translation>
    </message>
    <message>
        <source>Show the conversations</source>
        <translation>대화 목록 보기</translation>
    </message>
    <message>
        <source>Rename the conversation…</source>
        <translation>대화 이름 바꾸기…</translation>
    </message>
    <message>
        <source>Delete the conversation</source>
        <translation>대화 삭제</translation>
    </message>
    <message>
        <source>Bring the deleted conversation back</source>
        <translation>삭제한 대화 되살리기</translation>
    </message>
    <message>
        <source>What is kept…</source>
        <translation>보관된 것…</translation>
    </message>
    <message>
        <source>Many pictures at once…</source>
        <translation>여러 그림 한꺼번에…</translation>
    </message>
    <message>
        <source>Models…</source>
        <translation>모델…</translation>
    </message>
    <message>
        <source>Settings…</source>
        <translation>설정…</translation>
    </message>
    <message>
        <source>Ask the question otherwise</source>
        <translation>질문 고쳐 묻기</translation>
    </message>
    <message>
        <source>Keyboard shortcuts</source>
        <translation>단축키</translation>
    </message>
    <message>
        <source>About</source>
        <translation>정보</translation>
    </message>
</context>
<context>
    <name>AnswerCard</name>
    <message>
        <source>How it got there</source>
        <translation>답에 이른 과정</translation>
    </message>
    <message>
        <source>The whole question</source>
        <translation>질문 전체</translation>
    </message>
    <message>
        <source>Candidates</source>
        <translation>후보</translation>
    </message>
    <message>
        <source>What was weighed, and why</source>
        <translation>무엇을 왜 비교했는지</translation>
    </message>
    <message>
        <source>Ask again with another seed</source>
        <translation>다른 시드로 다시 묻기</translation>
    </message>
    <message>
        <source>Ask the question otherwise</source>
        <translation>질문 고쳐 묻기</translation>
    </message>
    <message>
        <source>Copy the answer</source>
        <translation>답 복사</translation>
    </message>
    <message>
        <source>The part that was asked about</source>
        <translation>질문한 부분</translation>
    </message>
    <message>
        <source>Conclusion</source>
        <translation>결론</translation>
    </message>
    <message>
        <source>The program ended before this answer was finished.</source>
        <translation>이 답이 끝나기 전에 프로그램이 종료되었습니다.</translation>
    </message>
    <message>
        <source>Stopped before the conclusion.</source>
        <translation>결론 전에 멈추었습니다.</translation>
    </message>
    <message>
        <source>Waiting for another answer</source>
        <translation>다른 답을 기다리는 중</translation>
    </message>
    <message>
        <source>Waiting</source>
        <translation>기다리는 중</translation>
    </message>
    <message>
        <source>Loading the model</source>
        <translation>모델을 불러오는 중</translation>
    </message>
    <message>
        <source>Reading the picture</source>
        <translation>그림을 읽는 중</translation>
    </message>
    <message>
        <source>Reading the question</source>
        <translation>질문을 읽는 중</translation>
    </message>
    <message>
        <source>Comparing candidates</source>
        <translation>후보를 비교하는 중</translation>
    </message>
    <message>
        <source>It does not react. Stop again ends the engine</source>
        <translation>반응이 없습니다. 다시 멈추면 엔진을 끝냅니다</translation>
    </message>
    <message>
        <source>Stopping</source>
        <translation>멈추는 중</translation>
    </message>
    <message>
        <source>{0} of {1} candidates</source>
        <translation>후보 {1}개 중 {0}개</translation>
    </message>
    <message>
        <source>{0} tokens/s</source>
        <translation>초당 {0}토큰</translation>
    </message>
    <message>
        <source>went back {0} times</source>
        <translation>{0}번 되돌아감</translation>
    </message>
    <message>
        <source>{0} s</source>
        <translation>{0}초</translation>
    </message>
    <message>
        <source>about {0} left</source>
        <translation>약 {0} 남음</translation>
    </message>
    <message>
        <source>{0} tokens</source>
        <translation>{0}토큰</translation>
    </message>
    <message>
        <source>demo model: knows shapes only</source>
        <translation>데모 모델: 도형만 압니다</translation>
    </message>
    <message>
        <source>picture already read</source>
        <translation>이미 읽은 그림</translation>
    </message>
    <message>
        <source>seed {0}</source>
        <translation>시드 {0}</translation>
    </message>
    <message>
        <source>stopped</source>
        <translation>멈춤</translation>
    </message>
</context>
<context>
    <name>AnswerPane</name>
    <message>
        <source>Close</source>
        <translation>닫기</translation>
    </message>
    <message>
        <source>Conversation</source>
        <translation>대화</translation>
    </message>
    <message>
        <source>Ask your first question below.</source>
        <translation>아래에 첫 질문을 적어 보세요.</translation>
    </message>
    <message>
        <source>Answers appear here.</source>
        <translation>답이 여기에 나타납니다.</translation>
    </message>
</context>
<context>
    <name>App</name>
    <message>
        <source>The history could not be read and was set aside as {0}.</source>
        <translation>기록을 읽을 수 없어 {0}(으)로 따로 보관했습니다.</translation>
    </message>
    <message>
        <source>Pictures ({0})</source>
        <translation>사진 ({0})</translation>
    </message>
    <message>
        <source>All files (*)</source>
        <translation>모든 파일 (*)</translation>
    </message>
    <message>
        <source>Open pictures</source>
        <translation>그림 열기</translation>
    </message>
    <message>
        <source>There is no picture in the clipboard.</source>
        <translation>클립보드에 그림이 없습니다.</translation>
    </message>
    <message>
        <source>Copied</source>
        <translation>복사했습니다</translation>
    </message>
    <message>
        <source>The answer: {0}</source>
        <translation>답: {0}</translation>
    </message>
    <message>
        <source>{0} is not on this computer. Save the picture, or copy and paste it.</source>
        <translation>{0}은(는) 이 컴퓨터에 없습니다. 그림을 저장하거나 복사해서 붙여 넣으세요.</translation>
    </message>
    <message>
        <source>Nothing came with that. Save the picture, or copy and paste it.</source>
        <translation>아무것도 오지 않았습니다. 사진을 저장하거나 복사해서 붙여넣으세요.</translation>
    </message>
    <message>
        <source>Ready</source>
        <translation>준비됨</translation>
    </message>
    <message>
        <source>Answering…</source>
        <translation>답하는 중…</translation>
    </message>
    <message>
        <source>Some answers could not be saved. Close all the same?</source>
        <translation>저장하지 못한 답이 있습니다. 그래도 닫을까요?</translation>
    </message>
    <message>
        <source>They are in this window only. Free some space first.</source>
        <translation>이 창에만 있습니다. 먼저 공간을 비우세요.</translation>
    </message>
    <message>
        <source>Close</source>
        <translation>닫기</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>취소</translation>
    </message>
</context>
<context>
    <name>BatchDialog</name>
    <message>
        <source>Many pictures at once</source>
        <translation>여러 그림 한꺼번에</translation>
    </message>
    <message>
        <source>Folder or table</source>
        <translation>폴더 또는 표</translation>
    </message>
    <message>
        <source>a folder of pictures, or a .csv with the columns picture and question</source>
        <translation>그림 폴더, 또는 picture와 question 열이 있는 .csv</translation>
    </message>
    <message>
        <source>Question</source>
        <translation>질문</translation>
    </message>
    <message>
        <source>the question to every picture</source>
        <translation>모든 그림에 할 질문</translation>
    </message>
    <message>
        <source>File of results</source>
        <translation>결과 파일</translation>
    </message>
    <message>
        <source>where results go (.jsonl, and a .csv beside it)</source>
        <translation>결과를 둘 곳 (.jsonl, 옆에 .csv도)</translation>
    </message>
    <message>
        <source>Start</source>
        <translation>시작</translation>
    </message>
    <message>
        <source>Pause</source>
        <translation>일시 정지</translation>
    </message>
    <message>
        <source>Stop</source>
        <translation>멈추기</translation>
    </message>
    <message>
        <source>Results</source>
        <translation>결과</translation>
    </message>
    <message>
        <source>Picture</source>
        <translation>그림</translation>
    </message>
    <message>
        <source>Conclusion</source>
        <translation>결론</translation>
    </message>
    <message>
        <source>Seconds</source>
        <translation>초</translation>
    </message>
    <message>
        <source>Folder…</source>
        <translation>폴더…</translation>
    </message>
    <message>
        <source>Table…</source>
        <translation>표…</translation>
    </message>
    <message>
        <source>Results…</source>
        <translation>결과…</translation>
    </message>
    <message>
        <source>A folder of pictures</source>
        <translation>그림 폴더</translation>
    </message>
    <message>
        <source>A table</source>
        <translation>표</translation>
    </message>
    <message>
        <source>Go on</source>
        <translation>계속</translation>
    </message>
    <message>
        <source>{0} of {1} done</source>
        <translation>{1}개 중 {0}개 완료</translation>
    </message>
    <message>
        <source>{0} with an error</source>
        <translation>오류 {0}개</translation>
    </message>
</context>
<context>
    <name>BatchRun</name>
    <message>
        <source>no conclusion</source>
        <translation>결론 없음</translation>
    </message>
    <message>
        <source>The engine ended unexpectedly ({0}).</source>
        <translation>엔진이 예기치 않게 종료되었습니다 ({0}).</translation>
    </message>
    <message>
        <source>The run is paused. Go on tries again.</source>
        <translation>실행을 일시 정지했습니다. ‘계속’을 누르면 다시 시도합니다.</translation>
    </message>
</context>
<context>
    <name>Buttons</name>
    <message>
        <source>Restore defaults</source>
        <translation>기본값으로</translation>
    </message>
    <message>
        <source>OK</source>
        <translation>확인</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>취소</translation>
    </message>
</context>
<context>
    <name>CandidatesDialog</name>
    <message>
        <source>Candidates</source>
        <translation>후보</translation>
    </message>
    <message>
        <source>Tree of candidates</source>
        <translation>후보 나무</translation>
    </message>
    <message>
        <source>{0} candidates</source>
        <translation>후보 {0}개</translation>
    </message>
    <message>
        <source>{0} tokens</source>
        <translation>{0}토큰</translation>
    </message>
    <message>
        <source>seed {0}</source>
        <translation>시드 {0}</translation>
    </message>
    <message>
        <source>part of the answer</source>
        <translation>답에 쓰임</translation>
    </message>
    <message>
        <source>not part of the answer</source>
        <translation>답에 쓰이지 않음</translation>
    </message>
    <message>
        <source>mean log-probability {0}</source>
        <translation>평균 로그 확률 {0}</translation>
    </message>
</context>
<context>
    <name>CompareDialog</name>
    <message>
        <source>Compare answers</source>
        <translation>답 비교</translation>
    </message>
    <message>
        <source>The first answer</source>
        <translation>첫 번째 답</translation>
    </message>
    <message>
        <source>The second answer</source>
        <translation>두 번째 답</translation>
    </message>
    <message>
        <source>Close</source>
        <translation>닫기</translation>
    </message>
    <message>
        <source>seed {0}</source>
        <translation>시드 {0}</translation>
    </message>
</context>
<context>
    <name>Conversations</name>
    <message>
        <source>The question is empty.</source>
        <translation>질문이 비어 있습니다.</translation>
    </message>
    <message>
        <source>Ask something about the picture.</source>
        <translation>그림에 대해 물어보세요.</translation>
    </message>
    <message>
        <source>The question has {0} characters; at most {1} fit.</source>
        <translation>질문이 {0}자입니다. 최대 {1}자까지 됩니다.</translation>
    </message>
    <message>
        <source>Shorten it.</source>
        <translation>줄여 주세요.</translation>
    </message>
    <message>
        <source>The picture is still being opened.</source>
        <translation>그림을 아직 여는 중입니다.</translation>
    </message>
    <message>
        <source>Try again in a moment.</source>
        <translation>잠시 뒤에 다시 해 보세요.</translation>
    </message>
    <message>
        <source>The picture of this conversation is not at hand.</source>
        <translation>이 대화의 그림이 지금 없습니다.</translation>
    </message>
    <message>
        <source>Open the picture again; a new conversation begins with it.</source>
        <translation>그림을 다시 여세요. 그 그림으로 새 대화가 시작됩니다.</translation>
    </message>
    <message>
        <source>There is no picture yet.</source>
        <translation>아직 그림이 없습니다.</translation>
    </message>
    <message>
        <source>Drop one on the window, paste one, or open one.</source>
        <translation>창에 끌어다 놓거나, 붙여 넣거나, 열어 주세요.</translation>
    </message>
    <message>
        <source>The answer ended before its conclusion. Give it more tokens in the settings, or ask again with another seed.</source>
        <translation>답이 결론 전에 끝났습니다. 설정에서 토큰을 더 주거나 다른 시드로 다시 물어보세요.</translation>
    </message>
    <message>
        <source>The engine ended unexpectedly ({0}).</source>
        <translation>엔진이 예기치 않게 종료되었습니다 ({0}).</translation>
    </message>
    <message>
        <source>Nothing else is lost; ask again to start it anew.</source>
        <translation>다른 것은 잃지 않았습니다. 다시 물으면 새로 시작합니다.</translation>
    </message>
    <message>
        <source>It starts again with the next question.</source>
        <translation>다음 질문에서 다시 시작합니다.</translation>
    </message>
</context>
<context>
    <name>Days</name>
    <message>
        <source>Today</source>
        <translation>오늘</translation>
    </message>
    <message>
        <source>Yesterday</source>
        <translation>어제</translation>
    </message>
    <message>
        <source>This week</source>
        <translation>이번 주</translation>
    </message>
</context>
<context>
    <name>Dialogs</name>
    <message>
        <source>There is nothing to export yet.</source>
        <translation>아직 내보낼 것이 없습니다.</translation>
    </message>
    <message>
        <source>Export</source>
        <translation>내보내기</translation>
    </message>
    <message>
        <source>{0} is there already.</source>
        <translation>{0}이(가) 이미 있습니다.</translation>
    </message>
    <message>
        <source>Choose that file to replace it.</source>
        <translation>바꾸려면 그 파일을 직접 고르세요.</translation>
    </message>
    <message>
        <source>Written: {0}</source>
        <translation>저장함: {0}</translation>
    </message>
    <message>
        <source>There are no two answers to compare yet.</source>
        <translation>비교할 답이 아직 둘이 아닙니다.</translation>
    </message>
    <message>
        <source>Built in. It knows coloured shapes and nothing else.</source>
        <translation>내장 모델. 색 도형만 알고 다른 것은 모릅니다.</translation>
    </message>
    <message>
        <source>A server: pictures are sent to {0}.</source>
        <translation>서버입니다. 사진을 {0}(으)로 보냅니다.</translation>
    </message>
    <message>
        <source>This computer could not be measured: {0}</source>
        <translation>이 컴퓨터를 측정하지 못했습니다: {0}</translation>
    </message>
    <message>
        <source>In use on {0}:</source>
        <translation>{0}에서 사용 중:</translation>
    </message>
    <message>
        <source>{0} is ready.</source>
        <translation>{0}이(가) 준비되었습니다.</translation>
    </message>
</context>
<context>
    <name>EmptyState</name>
    <message>
        <source>Drop a picture here</source>
        <translation>여기에 그림을 놓으세요</translation>
    </message>
    <message>
        <source>Then ask about it. Everything stays on this computer.</source>
        <translation>그리고 물어보세요. 모든 것은 이 컴퓨터에만 남습니다.</translation>
    </message>
    <message>
        <source>Open…</source>
        <translation>열기…</translation>
    </message>
    <message>
        <source>Paste</source>
        <translation>붙여넣기</translation>
    </message>
    <message>
        <source>Screenshot</source>
        <translation>화면 캡처</translation>
    </message>
    <message>
        <source>Or try one of these</source>
        <translation>또는 예제로 해 보기</translation>
    </message>
    <message>
        <source>The built-in demo model answers: it knows coloured shapes like these and nothing else.</source>
        <translation>내장된 데모 모델이 답합니다. 이런 색 도형만 알고 다른 것은 모릅니다.</translation>
    </message>
    <message>
        <source>Get the real model…</source>
        <translation>진짜 모델 받기…</translation>
    </message>
</context>
<context>
    <name>Kept</name>
    <message>
        <source>The conversation was deleted.</source>
        <translation>대화를 삭제했습니다.</translation>
    </message>
    <message>
        <source>Undo</source>
        <translation>되돌리기</translation>
    </message>
</context>
<context>
    <name>KeptDialog</name>
    <message>
        <source>What is kept</source>
        <translation>보관된 것</translation>
    </message>
    <message>
        <source>Recently deleted</source>
        <translation>최근에 삭제한 대화</translation>
    </message>
    <message>
        <source>Nothing. What you delete can be brought back from here for {0} days.</source>
        <translation>없습니다. 삭제한 대화는 {0}일 동안 여기서 되살릴 수 있습니다.</translation>
    </message>
    <message>
        <source>Bring back</source>
        <translation>되살리기</translation>
    </message>
    <message>
        <source>Delete now…</source>
        <translation>지금 삭제…</translation>
    </message>
    <message>
        <source>Clear the history…</source>
        <translation>기록 지우기…</translation>
    </message>
    <message>
        <source>Close</source>
        <translation>닫기</translation>
    </message>
    <message>
        <source>Conversations and their pictures take {0}.</source>
        <translation>대화와 사진이 {0}을(를) 차지합니다.</translation>
    </message>
    <message>
        <source>{0}
{1}, deleted {2}</source>
        <translation>{0}
{1}, {2}에 삭제함</translation>
    </message>
    <message>
        <source>Delete for good, with the pictures that nothing else refers to?</source>
        <translation>다른 곳에서 쓰지 않는 사진까지 완전히 삭제할까요?</translation>
    </message>
    <message>
        <source>Delete now</source>
        <translation>지금 삭제</translation>
    </message>
    <message>
        <source>Delete all conversations and their pictures for good?</source>
        <translation>모든 대화와 사진을 완전히 삭제할까요?</translation>
    </message>
    <message>
        <source>Clear the history</source>
        <translation>기록 지우기</translation>
    </message>
    <message>
        <source>This cannot be undone.</source>
        <translation>되돌릴 수 없습니다.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>취소</translation>
    </message>
</context>
<context>
    <name>Keys</name>
    <message>
        <source>Always the same</source>
        <translation>항상 같은 키</translation>
    </message>
    <message>
        <source>Ask</source>
        <translation>질문</translation>
    </message>
    <message>
        <source>New line in the question</source>
        <translation>질문에서 줄 바꾸기</translation>
    </message>
    <message>
        <source>Zoom the picture</source>
        <translation>사진 확대·축소</translation>
    </message>
    <message>
        <source>Choose a part of the picture</source>
        <translation>사진의 일부 고르기</translation>
    </message>
</context>
<context>
    <name>KeysDialog</name>
    <message>
        <source>Keyboard shortcuts</source>
        <translation>단축키</translation>
    </message>
    <message>
        <source>Close</source>
        <translation>닫기</translation>
    </message>
    <message>
        <source>Change…</source>
        <translation>바꾸기…</translation>
    </message>
</context>
<context>
    <name>Link</name>
    <message>
        <source>exit code {0}</source>
        <translation>종료 코드 {0}</translation>
    </message>
    <message>
        <source>something ended it; perhaps memory ran out</source>
        <translation>무언가가 종료했습니다. 메모리가 부족했을 수 있습니다</translation>
    </message>
    <message>
        <source>it crashed</source>
        <translation>비정상 종료</translation>
    </message>
</context>
<context>
    <name>MainWindow</name>
    <message>
        <source>Model</source>
        <translation>모델</translation>
    </message>
    <message>
        <source>State</source>
        <translation>상태</translation>
    </message>
    <message>
        <source>Drop the folder to ask one question about all its pictures</source>
        <translation>폴더를 놓으면 모든 사진에 같은 질문을 합니다</translation>
    </message>
    <message>
        <source>Drop to open {0} pictures</source>
        <translation>놓으면 사진 {0}장을 엽니다</translation>
    </message>
    <message>
        <source>Drop to open the picture</source>
        <translation>놓으면 사진을 엽니다</translation>
    </message>
</context>
<context>
    <name>ModelChoice</name>
    <message>
        <source>Demo: shapes only</source>
        <translation>데모: 도형만</translation>
    </message>
    <message>
        <source>This does not look like coloured shapes, the only thing that the demo model knows. Its answer will be a guess.</source>
        <translation>색깔 있는 도형이 아닌 것 같습니다. 데모 모델은 도형만 알기 때문에 답은 추측일 뿐입니다.</translation>
    </message>
    <message>
        <source>Get the real model…</source>
        <translation>진짜 모델 받기…</translation>
    </message>
    <message>
        <source>Models…</source>
        <translation>모델…</translation>
    </message>
    <message>
        <source>Pictures are sent to {0}</source>
        <translation>사진을 {0}(으)로 보냅니다</translation>
    </message>
    <message>
        <source>Demo model</source>
        <translation>데모 모델</translation>
    </message>
</context>
<context>
    <name>ModelsDialog</name>
    <message>
        <source>LLaVA-o1 11B: for any picture</source>
        <translation>LLaVA-o1 11B: 어떤 사진이든</translation>
    </message>
    <message>
        <source>Get the real model</source>
        <translation>진짜 모델 받기</translation>
    </message>
    <message>
        <source>Looking at this computer…</source>
        <translation>이 컴퓨터를 살펴보는 중…</translation>
    </message>
    <message>
        <source>Downloads {0} and keeps {1}; {2} are free on the disk.</source>
        <translation>{0}를 내려받아 {1}를 보관합니다. 디스크에 {2} 남아 있습니다.</translation>
    </message>
    <message>
        <source>It does not fit here now: free some memory or disk first.</source>
        <translation>지금은 여기에 맞지 않습니다. 먼저 메모리나 디스크를 비우세요.</translation>
    </message>
    <message>
        <source>Models</source>
        <translation>모델</translation>
    </message>
    <message>
        <source>Models on this computer</source>
        <translation>이 컴퓨터의 모델</translation>
    </message>
    <message>
        <source>Use this model</source>
        <translation>이 모델 쓰기</translation>
    </message>
    <message>
        <source>Remove…</source>
        <translation>제거…</translation>
    </message>
    <message>
        <source>On this computer</source>
        <translation>이 컴퓨터에 있는 것</translation>
    </message>
    <message>
        <source>Name on the hub</source>
        <translation>허브 이름</translation>
    </message>
    <message>
        <source>automatic</source>
        <translation>자동</translation>
    </message>
    <message>
        <source>Quantisation</source>
        <translation>양자화</translation>
    </message>
    <message>
        <source>Fetch from the hub</source>
        <translation>허브에서 받기</translation>
    </message>
    <message>
        <source>Convert a checkpoint folder…</source>
        <translation>체크포인트 폴더 변환…</translation>
    </message>
    <message>
        <source>Convert an old GGUF file…</source>
        <translation>옛 GGUF 파일 변환…</translation>
    </message>
    <message>
        <source>Import model files…</source>
        <translation>파일 쌍 들여오기…</translation>
    </message>
    <message>
        <source>Convert from Ollama</source>
        <translation>Ollama에서 변환</translation>
    </message>
    <message>
        <source>Address of a server</source>
        <translation>서버 주소</translation>
    </message>
    <message>
        <source>A server of OpenAI&apos;s protocol: llama.cpp&apos;s, vLLM, SGLang, or llavao1-edge serve. The search stays here. After # its model&apos;s name, where it has several. A key is taken from LLAVAO1_SERVER_KEY.</source>
        <translation>OpenAI 프로토콜을 쓰는 서버: llama.cpp 서버, vLLM, SGLang, llavao1-edge serve. 탐색은 이 컴퓨터에서 합니다. 모델이 여럿이면 # 뒤에 모델 이름을 적습니다. 키는 LLAVAO1_SERVER_KEY에서 가져옵니다.</translation>
    </message>
    <message>
        <source>Use a server…</source>
        <translation>서버 쓰기…</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>취소</translation>
    </message>
    <message>
        <source>Your pictures and questions will be sent to {0}.</source>
        <translation>사진과 질문을 {0}(으)로 보내게 됩니다.</translation>
    </message>
    <message>
        <source>Needs {0} of memory; {1} are free.</source>
        <translation>메모리 {0} 필요, {1} 사용 가능.</translation>
    </message>
    <message>
        <source>Expect about {0} to read a picture on this processor, then {1} tokens a second.</source>
        <translation>이 프로세서에서 사진을 읽는 데 약 {0}, 그다음 초당 {1}토큰으로 예상됩니다.</translation>
    </message>
    <message>
        <source>Another model, or files that I have</source>
        <translation>다른 모델 또는 가지고 있는 파일</translation>
    </message>
    <message>
        <source>A model on a server</source>
        <translation>서버의 모델</translation>
    </message>
    <message>
        <source>Details</source>
        <translation>자세히</translation>
    </message>
    <message>
        <source>Only fetching and a server use the network. The 11B model takes about 8 GB on disk (Q4_K_M) and as much memory.</source>
        <translation>내려받기와 서버만 네트워크를 씁니다. 11B 모델은 디스크에 약 8GB(Q4_K_M), 메모리에도 그만큼을 차지합니다.</translation>
    </message>
    <message>
        <source>Needs {0} of memory, only {1} are free: it will not fit.</source>
        <translation>메모리 {0} 필요, {1}만 사용 가능: 들어가지 않습니다.</translation>
    </message>
    <message>
        <source>A server&apos;s address is http://HOST:PORT or https://…</source>
        <translation>서버 주소는 http://HOST:PORT 또는 https://… 입니다</translation>
    </message>
    <message>
        <source>Send them there</source>
        <translation>보내기</translation>
    </message>
    <message>
        <source>Remove {0} and free {1}?</source>
        <translation>{0}을(를) 제거하고 {1}을(를) 비울까요?</translation>
    </message>
    <message>
        <source>Remove</source>
        <translation>제거</translation>
    </message>
    <message>
        <source>A checkpoint folder</source>
        <translation>체크포인트 폴더</translation>
    </message>
    <message>
        <source>An old GGUF file</source>
        <translation>옛 GGUF 파일</translation>
    </message>
    <message>
        <source>The text file</source>
        <translation>텍스트 모델 파일</translation>
    </message>
    <message>
        <source>{0}/s</source>
        <translation>{0}/초</translation>
    </message>
    <message>
        <source>{0} of {1}</source>
        <translation>{1} 중 {0}</translation>
    </message>
    <message>
        <source>{0} left</source>
        <translation>{0} 남음</translation>
    </message>
</context>
<context>
    <name>PictureMenu</name>
    <message>
        <source>Copy the picture</source>
        <translation>사진 복사</translation>
    </message>
    <message>
        <source>Save the picture…</source>
        <translation>사진 저장…</translation>
    </message>
    <message>
        <source>Actual size (100 %)</source>
        <translation>실제 크기 (100 %)</translation>
    </message>
    <message>
        <source>Fit the picture</source>
        <translation>사진을 창에 맞추기</translation>
    </message>
    <message>
        <source>Ask about a part</source>
        <translation>일부에 대해 묻기</translation>
    </message>
    <message>
        <source>What the model sees</source>
        <translation>모델이 보는 모습</translation>
    </message>
    <message>
        <source>Copied, at most {0} pixels wide or high</source>
        <translation>복사했습니다 (긴 변 최대 {0}픽셀)</translation>
    </message>
    <message>
        <source>Save the picture</source>
        <translation>사진 저장</translation>
    </message>
    <message>
        <source>It cannot be saved: {0}</source>
        <translation>저장할 수 없습니다: {0}</translation>
    </message>
    <message>
        <source>Saved</source>
        <translation>저장했습니다</translation>
    </message>
</context>
<context>
    <name>PicturePane</name>
    <message>
        <source>Open pictures</source>
        <translation>그림 열기</translation>
    </message>
    <message>
        <source>Ask about a part</source>
        <translation>일부분에 대해 묻기</translation>
    </message>
    <message>
        <source>Draw a rectangle to ask about a part</source>
        <translation>사각형을 그려 일부분에 대해 묻기</translation>
    </message>
    <message>
        <source>What the model sees</source>
        <translation>모델이 보는 것</translation>
    </message>
    <message>
        <source>Fit the picture</source>
        <translation>그림 맞추기</translation>
    </message>
    <message>
        <source>Put the picture away</source>
        <translation>그림 치우기</translation>
    </message>
    <message>
        <source>Pictures</source>
        <translation>그림</translation>
    </message>
    <message>
        <source>Picture</source>
        <translation>그림</translation>
    </message>
    <message>
        <source>Plus and minus zoom, 0 fits. With Shift, the arrows choose a part.</source>
        <translation>+와 −는 확대와 축소, 0은 맞추기입니다. Shift와 화살표로 일부분을 고릅니다.</translation>
    </message>
    <message>
        <source>Ask about all {0} pictures together</source>
        <translation>그림 {0}장을 함께 묻기</translation>
    </message>
    <message>
        <source>{0} of {1}</source>
        <translation>{1}장 중 {0}번째</translation>
    </message>
    <message>
        <source>Picture {0}, {1} × {2}</source>
        <translation>사진 {0}, {1} × {2}</translation>
    </message>
</context>
<context>
    <name>Pictures</name>
    <message>
        <source>pasted picture</source>
        <translation>붙여 넣은 그림</translation>
    </message>
    <message>
        <source>About a part: {0} × {1} pixels</source>
        <translation>일부분에 대해: {0} × {1}픽셀</translation>
    </message>
    <message>
        <source>How this model sees the picture is known once it has read it.</source>
        <translation>이 모델이 그림을 어떻게 보는지는 그림을 읽은 뒤에 알 수 있습니다.</translation>
    </message>
    <message>
        <source>The model reads the picture as {0} tokens.</source>
        <translation>모델이 그림을 토큰 {0}개로 읽습니다.</translation>
    </message>
    <message>
        <source>The model reads it in {0} parts of {1} × {2} pixels: {3} tokens.</source>
        <translation>모델이 그림을 {1} × {2}픽셀 {0}조각으로 나누어 읽습니다: 토큰 {3}개.</translation>
    </message>
    <message>
        <source>The model reads it at {0} × {1} pixels: {2} tokens.</source>
        <translation>모델이 그림을 {0} × {1}픽셀로 읽습니다: 토큰 {2}개.</translation>
    </message>
    <message>
        <source>{0} × {1} tiles of {2} pixels. The picture becomes {3} × {4} pixels ({5} %); the hatched rest stays empty.</source>
        <translation>{2}픽셀 타일 {0} × {1}. 그림은 {3} × {4}픽셀({5} %)이 되고 빗금 부분은 비어 있습니다.</translation>
    </message>
    <message>
        <source>Screenshot</source>
        <translation>화면 캡처</translation>
    </message>
    <message>
        <source>this desktop does not let programs take screenshots</source>
        <translation>이 데스크톱은 프로그램의 화면 캡처를 허용하지 않습니다</translation>
    </message>
    <message>
        <source>Take one with the system&apos;s own tool and paste it here.</source>
        <translation>시스템 도구로 캡처해서 여기에 붙여 넣으세요.</translation>
    </message>
    <message>
        <source>screenshot</source>
        <translation>화면 캡처</translation>
    </message>
</context>
<context>
    <name>Presets</name>
    <message>
        <source>Fast</source>
        <translation>빠르게</translation>
    </message>
    <message>
        <source>Careful</source>
        <translation>꼼꼼히</translation>
    </message>
    <message>
        <source>Thorough</source>
        <translation>철저히</translation>
    </message>
    <message>
        <source>Expert</source>
        <translation>전문가</translation>
    </message>
    <message>
        <source>One answer in four stages</source>
        <translation>네 단계로 답 하나</translation>
    </message>
    <message>
        <source>Four candidates at every stage, the best goes on</source>
        <translation>단계마다 후보 넷, 가장 좋은 것이 이어짐</translation>
    </message>
    <message>
        <source>Eight candidates at every stage, compared by the model itself</source>
        <translation>단계마다 후보 여덟, 모델이 스스로 비교</translation>
    </message>
    <message>
        <source>Strategy and scorer as chosen in the settings</source>
        <translation>설정에서 고른 전략과 채점기</translation>
    </message>
</context>
<context>
    <name>QuestionBox</name>
    <message>
        <source>Ask something about the picture</source>
        <translation>그림에 대해 물어보세요</translation>
    </message>
    <message>
        <source>Question</source>
        <translation>질문</translation>
    </message>
    <message>
        <source>Ask</source>
        <translation>묻기</translation>
    </message>
    <message>
        <source>Stop</source>
        <translation>멈추기</translation>
    </message>
    <message>
        <source>Ask about the whole picture</source>
        <translation>그림 전체에 대해 묻기</translation>
    </message>
    <message>
        <source>How carefully to answer</source>
        <translation>얼마나 꼼꼼히 답할지</translation>
    </message>
    <message>
        <source>Form of the answer</source>
        <translation>답의 형식</translation>
    </message>
    <message>
        <source>Choices</source>
        <translation>선택지</translation>
    </message>
    <message>
        <source>A, B, C, D</source>
        <translation>A, B, C, D</translation>
    </message>
    <message>
        <source>Return asks, Shift+Return starts a new line</source>
        <translation>Return은 묻기, Shift+Return은 줄 바꿈</translation>
    </message>
    <message>
        <source>Free answer</source>
        <translation>자유 답변</translation>
    </message>
    <message>
        <source>One of…</source>
        <translation>다음 중 하나…</translation>
    </message>
    <message>
        <source>A number</source>
        <translation>숫자</translation>
    </message>
    <message>
        <source>Yes or no</source>
        <translation>예/아니요</translation>
    </message>
    <message>
        <source>Model: {0}</source>
        <translation>모델: {0}</translation>
    </message>
</context>
<context>
    <name>Reasons</name>
    <message>
        <source>part of the answer</source>
        <translation>답에 쓰임</translation>
    </message>
    <message>
        <source>{0} of {1} agree</source>
        <translation>{1}개 중 {0}개 일치</translation>
    </message>
    <message>
        <source>{0} of {1} say this</source>
        <translation>{1}개 중 {0}개가 같은 말</translation>
    </message>
    <message>
        <source>won {0} of {1} comparisons</source>
        <translation>비교 {1}번 중 {0}번 이김</translation>
    </message>
    <message>
        <source>{0}: {1}</source>
        <translation>{0}: {1}</translation>
    </message>
    <message>
        <source>the only one</source>
        <translation>하나뿐</translation>
    </message>
    <message>
        <source>all say the same</source>
        <translation>모두 같은 말</translation>
    </message>
    <message>
        <source>finished greedily</source>
        <translation>탐욕적으로 마무리</translation>
    </message>
    <message>
        <source>went on</source>
        <translation>이어짐</translation>
    </message>
    <message>
        <source>not chosen</source>
        <translation>선택되지 않음</translation>
    </message>
</context>
<context>
    <name>RegionChooser</name>
    <message>
        <source>Draw a rectangle; Escape leaves</source>
        <translation>사각형을 그리세요. Esc는 나가기</translation>
    </message>
</context>
<context>
    <name>Scorers</name>
    <message>
        <source>likelihood</source>
        <translation>가능도</translation>
    </message>
    <message>
        <source>weakest token</source>
        <translation>가장 약한 토큰</translation>
    </message>
    <message>
        <source>agreement</source>
        <translation>일치도</translation>
    </message>
    <message>
        <source>agreement and likelihood</source>
        <translation>일치도와 가능도</translation>
    </message>
    <message>
        <source>the model compares</source>
        <translation>모델이 비교</translation>
    </message>
    <message>
        <source>the model compares once</source>
        <translation>모델이 한 번 비교</translation>
    </message>
</context>
<context>
    <name>Searches</name>
    <message>
        <source>one answer in four stages</source>
        <translation>네 단계로 답 하나</translation>
    </message>
    <message>
        <source>the conclusion alone</source>
        <translation>결론만</translation>
    </message>
    <message>
        <source>one answer in its own words</source>
        <translation>자유로운 답 하나</translation>
    </message>
    <message>
        <source>best of {0} at each stage</source>
        <translation>단계마다 {0}개 중 최선</translation>
    </message>
    <message>
        <source>best of {0} whole answers</source>
        <translation>전체 답 {0}개 중 최선</translation>
    </message>
    <message>
        <source>best of {0} at each sentence</source>
        <translation>문장마다 {0}개 중 최선</translation>
    </message>
    <message>
        <source>best of {0}, going back where unsure</source>
        <translation>{0}개 중 최선, 불확실하면 되돌아감</translation>
    </message>
    <message>
        <source>, {0} of them kept</source>
        <translation>, 그중 {0}개 유지</translation>
    </message>
    <message>
        <source>{0}, by {1}</source>
        <translation>{0}, 기준: {1}</translation>
    </message>
</context>
<context>
    <name>SettingField</name>
    <message>
        <source>default</source>
        <translation>기본값</translation>
    </message>
    <message>
        <source>{0} is not a number</source>
        <translation>{0}은(는) 숫자가 아닙니다</translation>
    </message>
</context>
<context>
    <name>Settings</name>
    <message>
        <source>Candidates</source>
        <translation>후보</translation>
    </message>
    <message>
        <source>Branches kept</source>
        <translation>남길 가지</translation>
    </message>
    <message>
        <source>Returns</source>
        <translation>되돌아가기</translation>
    </message>
    <message>
        <source>Threshold</source>
        <translation>문턱값</translation>
    </message>
    <message>
        <source>Temperature</source>
        <translation>온도</translation>
    </message>
    <message>
        <source>Top-p</source>
        <translation>Top-p</translation>
    </message>
    <message>
        <source>Top-k</source>
        <translation>Top-k</translation>
    </message>
    <message>
        <source>Min-p</source>
        <translation>Min-p</translation>
    </message>
    <message>
        <source>Repeat penalty</source>
        <translation>반복 벌점</translation>
    </message>
    <message>
        <source>Tokens of an answer</source>
        <translation>답의 토큰</translation>
    </message>
    <message>
        <source>Tokens of a stage</source>
        <translation>단계의 토큰</translation>
    </message>
    <message>
        <source>Token budget</source>
        <translation>토큰 예산</translation>
    </message>
    <message>
        <source>Time budget</source>
        <translation>시간 예산</translation>
    </message>
    <message>
        <source>Layers on the GPU</source>
        <translation>GPU 층</translation>
    </message>
    <message>
        <source>Devices</source>
        <translation>장치</translation>
    </message>
    <message>
        <source>Device for pictures</source>
        <translation>사진을 읽을 장치</translation>
    </message>
    <message>
        <source>Other computers</source>
        <translation>다른 컴퓨터</translation>
    </message>
    <message>
        <source>Threads</source>
        <translation>스레드</translation>
    </message>
    <message>
        <source>Context</source>
        <translation>문맥</translation>
    </message>
    <message>
        <source>Batch</source>
        <translation>배치</translation>
    </message>
    <message>
        <source>Tokens of a picture</source>
        <translation>그림의 토큰 수</translation>
    </message>
    <message>
        <source>Chat format</source>
        <translation>대화 형식</translation>
    </message>
    <message>
        <source>Ask for stages</source>
        <translation>단계 요청</translation>
    </message>
    <message>
        <source>Memory check</source>
        <translation>메모리 확인</translation>
    </message>
    <message>
        <source>Cache</source>
        <translation>캐시</translation>
    </message>
    <message>
        <source>candidates side by side</source>
        <translation>나란히 만드는 후보 수</translation>
    </message>
    <message>
        <source>branches kept at each stage (stage-beam)</source>
        <translation>단계마다 남기는 가지 수 (stage-beam)</translation>
    </message>
    <message>
        <source>most returns to the caption (retrace)</source>
        <translation>설명으로 되돌아가는 최대 횟수 (retrace)</translation>
    </message>
    <message>
        <source>go back while the second-best reasoning is not likelier than this (retrace)</source>
        <translation>두 번째로 좋은 추론이 이보다 그럴듯하지 않으면 되돌아감 (retrace)</translation>
    </message>
    <message>
        <source>0 takes the likeliest token; default: the model&apos;s own</source>
        <translation>0은 가장 그럴듯한 토큰, 기본값은 모델 고유값</translation>
    </message>
    <message>
        <source>draw from the likeliest tokens of this total probability</source>
        <translation>확률 합이 이만큼인 상위 토큰에서 뽑기</translation>
    </message>
    <message>
        <source>draw from this many likeliest tokens, 0 for all</source>
        <translation>상위 토큰 이만큼에서 뽑기, 0은 전부</translation>
    </message>
    <message>
        <source>leave out tokens below this share of the best</source>
        <translation>최고 확률의 이 비율보다 낮은 토큰은 제외</translation>
    </message>
    <message>
        <source>above 1 discourages repetition</source>
        <translation>1보다 크면 반복을 줄임</translation>
    </message>
    <message>
        <source>most tokens an answer may have</source>
        <translation>답 하나의 최대 토큰 수</translation>
    </message>
    <message>
        <source>most tokens a candidate has for a stage</source>
        <translation>후보가 한 단계에서 쓰는 최대 토큰 수</translation>
    </message>
    <message>
        <source>tokens all candidates may sample; then the best so far is finished greedily</source>
        <translation>모든 후보가 쓸 수 있는 토큰 수, 다 쓰면 지금까지 가장 좋은 것을 탐욕적으로 마무리</translation>
    </message>
    <message>
        <source>seconds to search; then the best so far is finished greedily</source>
        <translation>탐색하는 초, 지나면 지금까지 가장 좋은 것을 탐욕적으로 마무리</translation>
    </message>
    <message>
        <source>layers on the GPU: auto, or a number</source>
        <translation>GPU에 올릴 층: auto 또는 숫자</translation>
    </message>
    <message>
        <source>devices to compute on, as `devices` names them; cpu for none</source>
        <translation>계산할 장치: `devices`가 보여 주는 이름, 없이 하려면 cpu</translation>
    </message>
    <message>
        <source>the device that reads pictures, or cpu; default: by the room there is</source>
        <translation>사진을 읽는 장치 또는 cpu, 기본값: 메모리 여유에 따라</translation>
    </message>
    <message>
        <source>computers that run `devices serve`, on a network you trust</source>
        <translation>믿을 수 있는 네트워크에서 `devices serve`를 실행하는 컴퓨터</translation>
    </message>
    <message>
        <source>CPU threads; default: this machine&apos;s cores</source>
        <translation>CPU 스레드 수, 기본값은 이 컴퓨터의 코어 수</translation>
    </message>
    <message>
        <source>tokens a conversation can hold</source>
        <translation>대화가 담을 수 있는 토큰 수</translation>
    </message>
    <message>
        <source>most tokens computed at a time</source>
        <translation>한 번에 계산하는 최대 토큰 수</translation>
    </message>
    <message>
        <source>most tokens a picture may take, for models whose pictures stand in the text</source>
        <translation>그림이 글 안에 들어가는 모델에서 그림 하나가 차지할 수 있는 최대 토큰 수</translation>
    </message>
    <message>
        <source>how a conversation is written; default: as the model&apos;s family does</source>
        <translation>대화를 적는 형식; 기본값: 모델 계열의 형식</translation>
    </message>
    <message>
        <source>ask for the four stages in words; auto: of models that llama.cpp runs itself</source>
        <translation>네 단계를 말로 요청합니다; auto: llama.cpp가 직접 실행하는 모델에만</translation>
    </message>
    <message>
        <source>off loads a model even where it does not seem to fit</source>
        <translation>off는 맞지 않아 보여도 모델을 불러옴</translation>
    </message>
    <message>
        <source>precision of keys and values</source>
        <translation>키와 값의 정밀도</translation>
    </message>
</context>
<context>
    <name>SettingsDialog</name>
    <message>
        <source>Settings</source>
        <translation>설정</translation>
    </message>
    <message>
        <source>General</source>
        <translation>일반</translation>
    </message>
    <message>
        <source>Search</source>
        <translation>탐색</translation>
    </message>
    <message>
        <source>Sampling</source>
        <translation>표본 추출</translation>
    </message>
    <message>
        <source>Budget</source>
        <translation>예산</translation>
    </message>
    <message>
        <source>Machine</source>
        <translation>기기</translation>
    </message>
    <message>
        <source>as the system</source>
        <translation>시스템 설정대로</translation>
    </message>
    <message>
        <source>light</source>
        <translation>밝게</translation>
    </message>
    <message>
        <source>dark</source>
        <translation>어둡게</translation>
    </message>
    <message>
        <source>The model knows the earlier questions on a picture</source>
        <translation>모델이 같은 그림의 앞선 질문을 앎</translation>
    </message>
    <message>
        <source>Language</source>
        <translation>언어</translation>
    </message>
    <message>
        <source>Colours</source>
        <translation>색</translation>
    </message>
    <message>
        <source>How carefully to answer</source>
        <translation>얼마나 꼼꼼히 답할지</translation>
    </message>
    <message>
        <source>Conversations</source>
        <translation>대화</translation>
    </message>
    <message>
        <source>These hold where “Expert” is chosen beside the question.</source>
        <translation>질문 옆에서 ‘전문가’를 골랐을 때 적용됩니다.</translation>
    </message>
    <message>
        <source>Strategy</source>
        <translation>전략</translation>
    </message>
    <message>
        <source>Scorer</source>
        <translation>채점기</translation>
    </message>
    <message>
        <source>default</source>
        <translation>기본값</translation>
    </message>
</context>
<context>
    <name>ShortcutsDialog</name>
    <message>
        <source>Keyboard shortcuts</source>
        <translation>단축키</translation>
    </message>
    <message>
        <source>{0} is given to both “{1}” and “{2}”.</source>
        <translation>{0}이(가) ‘{1}’와 ‘{2}’에 모두 지정되었습니다.</translation>
    </message>
</context>
<context>
    <name>Sidebar</name>
    <message>
        <source>Conversations</source>
        <translation>대화</translation>
    </message>
    <message>
        <source>New conversation</source>
        <translation>새 대화</translation>
    </message>
    <message>
        <source>Search</source>
        <translation>찾기</translation>
    </message>
    <message>
        <source>Search conversations</source>
        <translation>대화 찾기</translation>
    </message>
    <message>
        <source>Nothing found.</source>
        <translation>찾은 것이 없습니다.</translation>
    </message>
    <message>
        <source>What you ask is kept here, on this computer only.</source>
        <translation>질문한 것은 이 컴퓨터에만, 여기에 남습니다.</translation>
    </message>
    <message>
        <source>Rename…</source>
        <translation>이름 바꾸기…</translation>
    </message>
    <message>
        <source>Delete</source>
        <translation>삭제</translation>
    </message>
    <message>
        <source>Rename</source>
        <translation>이름 바꾸기</translation>
    </message>
    <message>
        <source>Title</source>
        <translation>제목</translation>
    </message>
</context>
<context>
    <name>Stages</name>
    <message>
        <source>Summary</source>
        <translation>요약</translation>
    </message>
    <message>
        <source>Caption</source>
        <translation>설명</translation>
    </message>
    <message>
        <source>Reasoning</source>
        <translation>추론</translation>
    </message>
    <message>
        <source>Conclusion</source>
        <translation>결론</translation>
    </message>
    <message>
        <source>Answer</source>
        <translation>답</translation>
    </message>
</context>
<context>
    <name>Teller</name>
    <message>
        <source>And {0} more that cannot be opened.</source>
        <translation>그 밖에 열 수 없는 파일 {0}개.</translation>
    </message>
</context>
<context>
    <name>Texts</name>
    <message>
        <source>{0} s</source>
        <translation>{0}초</translation>
    </message>
    <message>
        <source>{0} min</source>
        <translation>{0}분</translation>
    </message>
    <message>
        <source>{0} h</source>
        <translation>{0}시간</translation>
    </message>
</context>
</TS>

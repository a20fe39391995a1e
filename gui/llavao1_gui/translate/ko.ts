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
        <source>**No telemetry.** Pictures, questions and answers stay on this computer, unless you choose a server to answer. Nothing else uses the network but fetching a model, when you ask for it.</source>
        <translation>**사용 정보를 보내지 않습니다.** 답할 서버를 직접 고르지 않는 한 그림과 질문과 답은 이 컴퓨터에만 있습니다. 그 밖에 네트워크를 쓰는 것은 직접 요청한 모델 내려받기뿐입니다.</translation>
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
        <translation>그림 모두 치우기</translation>
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
        <source>Ask again in place of this answer</source>
        <translation>이 답 대신 다시 묻기</translation>
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
        <source>Reword the question</source>
        <translation>질문 고치기</translation>
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
        <source>Right-click: ask again in place of this answer</source>
        <translation>오른쪽 단추: 이 답 대신 다시 묻기</translation>
    </message>
    <message>
        <source>Ask again in place of this answer</source>
        <translation>이 답을 대신하여 다시 질문</translation>
    </message>
    <message>
        <source>Reword the question</source>
        <translation>질문 고치기</translation>
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
        <source>picture known</source>
        <translation>이미 읽은 그림</translation>
    </message>
    <message>
        <source>demo model</source>
        <translation>데모 모델</translation>
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
        <translation>아무것도 오지 않았습니다. 그림을 저장하거나 복사해서 붙여넣으세요.</translation>
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
        <source>Question</source>
        <translation>질문</translation>
    </message>
    <message>
        <source>File of results</source>
        <translation>결과 파일</translation>
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
        <source>A folder of pictures, or a .csv with the columns picture and question</source>
        <translation>그림 폴더, 또는 picture와 question 열이 있는 .csv</translation>
    </message>
    <message>
        <source>The question to every picture</source>
        <translation>모든 그림에 할 질문</translation>
    </message>
    <message>
        <source>Where results go (.jsonl, and a .csv beside it)</source>
        <translation>결과를 둘 곳(.jsonl, 그 옆에 .csv)</translation>
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
        <source>Built in: simple charts, geometry, tables, print, icons and shapes.</source>
        <translation>내장 모델. 간단한 차트, 도형 문제, 표, 글자, 아이콘, 색 도형을 압니다.</translation>
    </message>
    <message>
        <source>A server: pictures are sent to {0}.</source>
        <translation>서버입니다. 그림을 {0}(으)로 보냅니다.</translation>
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
        <source>The built-in demo model knows simple pictures like these, and no photographs.</source>
        <translation>내장된 데모 모델은 이런 간단한 그림은 알지만 사진은 모릅니다.</translation>
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
        <source>Then ask about it.</source>
        <translation>그런 다음 질문하세요.</translation>
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
        <translation>대화와 그림이 {0}을(를) 차지합니다.</translation>
    </message>
    <message>
        <source>{0}
{1}, deleted {2}</source>
        <translation>{0}
{1}, {2}에 삭제함</translation>
    </message>
    <message>
        <source>Delete for good, with the pictures that nothing else refers to?</source>
        <translation>다른 곳에서 쓰지 않는 그림까지 완전히 삭제할까요?</translation>
    </message>
    <message>
        <source>Delete now</source>
        <translation>지금 삭제</translation>
    </message>
    <message>
        <source>Delete all conversations and their pictures for good?</source>
        <translation>모든 대화와 그림을 완전히 삭제할까요?</translation>
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
        <translation>그림 확대·축소</translation>
    </message>
    <message>
        <source>Choose a part of the picture</source>
        <translation>그림의 일부 고르기</translation>
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
        <translation>폴더를 놓으면 모든 그림에 같은 질문을 합니다</translation>
    </message>
    <message>
        <source>Drop to open {0} pictures</source>
        <translation>놓으면 그림 {0}장을 엽니다</translation>
    </message>
    <message>
        <source>Drop to open the picture</source>
        <translation>놓으면 그림을 엽니다</translation>
    </message>
</context>
<context>
    <name>ModelChoice</name>
    <message>
        <source>Demo: simple pictures</source>
        <translation>데모: 간단한 그림</translation>
    </message>
    <message>
        <source>The demo model knows simple charts, geometry, tables, print, icons and shapes.</source>
        <translation>데모 모델은 간단한 차트, 도형 문제, 표, 글자, 아이콘, 색 도형을 압니다.</translation>
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
        <translation>그림을 {0}(으)로 보냅니다</translation>
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
        <translation>LLaVA-o1 11B: 어떤 그림이든</translation>
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
        <translation>그림과 질문을 {0}(으)로 보내게 됩니다.</translation>
    </message>
    <message>
        <source>Needs {0} of memory; {1} are free.</source>
        <translation>메모리 {0} 필요, {1} 사용 가능.</translation>
    </message>
    <message>
        <source>Expect about {0} to read a picture on this processor, then {1} tokens a second.</source>
        <translation>이 프로세서에서 그림을 읽는 데 약 {0}, 그다음 초당 {1}토큰으로 예상됩니다.</translation>
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
        <source>Automatic</source>
        <translation>자동</translation>
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
    <name>OpenDialog</name>
    <message>
        <source>Pictures ({0})</source>
        <translation>그림 ({0})</translation>
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
        <source>Look in:</source>
        <translation>위치:</translation>
    </message>
    <message>
        <source>File name:</source>
        <translation>파일 이름:</translation>
    </message>
    <message>
        <source>Files of type:</source>
        <translation>파일 형식:</translation>
    </message>
    <message>
        <source>Open</source>
        <translation>열기</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>취소</translation>
    </message>
    <message>
        <source>Preview</source>
        <translation>미리 보기</translation>
    </message>
</context>
<context>
    <name>PictureMenu</name>
    <message>
        <source>Copy the picture</source>
        <translation>그림 복사</translation>
    </message>
    <message>
        <source>Save the picture…</source>
        <translation>그림 저장…</translation>
    </message>
    <message>
        <source>Show in its folder</source>
        <translation>폴더에서 보기</translation>
    </message>
    <message>
        <source>Turn right</source>
        <translation>오른쪽으로 돌리기</translation>
    </message>
    <message>
        <source>Turn left</source>
        <translation>왼쪽으로 돌리기</translation>
    </message>
    <message>
        <source>Actual size (100 %)</source>
        <translation>실제 크기 (100 %)</translation>
    </message>
    <message>
        <source>Fit the picture</source>
        <translation>그림을 창에 맞추기</translation>
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
        <translation>그림 저장</translation>
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
        <source>Page {0} of {1}</source>
        <translation>{1}페이지 중 {0}페이지</translation>
    </message>
    <message>
        <source>Frame {0} of {1}</source>
        <translation>{1}프레임 중 {0}프레임</translation>
    </message>
    <message>
        <source>Page</source>
        <translation>페이지</translation>
    </message>
    <message>
        <source>Frame</source>
        <translation>프레임</translation>
    </message>
    <message>
        <source>The one before</source>
        <translation>이전</translation>
    </message>
    <message>
        <source>The next one</source>
        <translation>다음</translation>
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
        <translation>그림 {0}, {1} × {2}</translation>
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
        <source>{0} × {1} tiles of {2} pixels.</source>
        <translation>{2}픽셀 타일 {0} × {1}개.</translation>
    </message>
    <message>
        <source>The picture becomes {3} × {4} pixels ({5} %).</source>
        <translation>그림은 {3} × {4}픽셀({5} %)이 됩니다.</translation>
    </message>
    <message>
        <source>The part becomes {3} × {4} pixels ({5} %).</source>
        <translation>이 부분은 {3} × {4}픽셀({5} %)이 됩니다.</translation>
    </message>
    <message>
        <source>The hatched rest stays empty.</source>
        <translation>빗금 친 나머지는 비어 있습니다.</translation>
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
        <source>Eight candidates at every stage, the best goes on</source>
        <translation>단계마다 후보 여덟, 가장 좋은 것이 이어짐</translation>
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
    <name>Screenshots</name>
    <message>
        <source>Screenshot</source>
        <translation>스크린샷</translation>
    </message>
    <message>
        <source>this desktop does not let programs take screenshots</source>
        <translation>이 데스크톱은 프로그램이 화면을 찍는 것을 허용하지 않습니다</translation>
    </message>
    <message>
        <source>Take one with the system&apos;s own tool and paste it here.</source>
        <translation>시스템의 도구로 찍어서 여기에 붙여 넣으세요.</translation>
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
        <source>{0}, compared by the model</source>
        <translation>{0}, 모델이 비교</translation>
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
        <source>First candidate is enough</source>
        <translation>첫 후보로 충분함</translation>
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
        <translation>그림을 읽을 장치</translation>
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
        <source>Pictures and conversations on disk</source>
        <translation>디스크에 두는 그림과 대화</translation>
    </message>
    <message>
        <source>Tokens guessed ahead</source>
        <translation>미리 추측하는 토큰</translation>
    </message>
    <message>
        <source>Draft model</source>
        <translation>초안 모델</translation>
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
        <source>draw no more candidates of a stage where the first has this probability; with 0.5 none can be likelier, 0 draws all at once (stage-beam)</source>
        <translation>첫 후보의 확률이 이 값 이상이면 그 단계의 후보를 더 뽑지 않음. 0.5이면 더 그럴듯한 것이 있을 수 없음. 0이면 한꺼번에 모두 뽑음 (stage-beam)</translation>
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
        <translation>그림을 읽는 장치 또는 cpu, 기본값: 메모리 여유에 따라</translation>
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
        <source>gigabytes of pictures and conversations as the model has them, kept on disk so that none is read twice; 0 for none</source>
        <translation>모델이 읽은 그림과 대화를 다시 읽지 않도록 디스크에 두는 크기(GB), 0이면 두지 않음</translation>
    </message>
    <message>
        <source>most tokens guessed ahead, 0 for none; default: what pays</source>
        <translation>미리 추측하는 토큰의 최대 수. 0이면 추측하지 않음. 기본값: 이득이 되는 만큼</translation>
    </message>
    <message>
        <source>a smaller text model (GGUF) of the same vocabulary, which guesses what this one says</source>
        <translation>같은 어휘를 쓰는 더 작은 텍스트 모델(GGUF). 이 모델이 할 말을 미리 추측합니다</translation>
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
        <source>As the system</source>
        <translation>시스템에 맞춤</translation>
    </message>
    <message>
        <source>Light</source>
        <translation>밝게</translation>
    </message>
    <message>
        <source>Dark</source>
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
<context>
    <name>engine</name>
    <message>
        <source>summary</source>
        <translation>요약</translation>
    </message>
    <message>
        <source>caption</source>
        <translation>설명</translation>
    </message>
    <message>
        <source>reasoning</source>
        <translation>추론</translation>
    </message>
    <message>
        <source>conclusion</source>
        <translation>결론</translation>
    </message>
    <message>
        <source>text weights</source>
        <translation>텍스트 가중치</translation>
    </message>
    <message>
        <source>weights that read pictures</source>
        <translation>그림을 읽는 가중치</translation>
    </message>
    <message>
        <source>keys and values of the context</source>
        <translation>문맥의 키와 값</translation>
    </message>
    <message>
        <source>recurrent states</source>
        <translation>순환 상태</translation>
    </message>
    <message>
        <source>a picture that was read</source>
        <translation>읽은 그림</translation>
    </message>
    <message>
        <source>reading a picture, or decoding</source>
        <translation>그림 읽기 또는 디코딩</translation>
    </message>
    <message>
        <source>candidates side by side</source>
        <translation>나란히 가는 후보</translation>
    </message>
    <message>
        <source>libraries</source>
        <translation>라이브러리</translation>
    </message>
    <message>
        <source>closed</source>
        <translation>닫힘</translation>
    </message>
    <message>
        <source>sentence</source>
        <translation>문장</translation>
    </message>
    <message>
        <source>length</source>
        <translation>길이</translation>
    </message>
    <message>
        <source>context</source>
        <translation>문맥</translation>
    </message>
    <message>
        <source>budget</source>
        <translation>예산</translation>
    </message>
    <message>
        <source>cancelled</source>
        <translation>취소됨</translation>
    </message>
    <message>
        <source>asked</source>
        <translation>질문함</translation>
    </message>
    <message>
        <source>answered</source>
        <translation>답함</translation>
    </message>
    <message>
        <source>stopped</source>
        <translation>중지됨</translation>
    </message>
    <message>
        <source>failed</source>
        <translation>실패</translation>
    </message>
    <message>
        <source>Check the path and the permissions.</source>
        <translation>경로와 권한을 확인하세요.</translation>
    </message>
    <message>
        <source>The file is damaged or incomplete: fetch or convert it again.</source>
        <translation>파일이 손상되었거나 불완전합니다. 다시 내려받거나 변환하세요.</translation>
    </message>
    <message>
        <source>cannot read model file {path}: {reason}</source>
        <translation>모델 파일 {path}을(를) 읽을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>{name}: metadata {key} is {value}, expected {wanted}</source>
        <translation>{name}: 메타데이터 {key}이(가) {value}입니다. {wanted}이어야 합니다</translation>
    </message>
    <message>
        <source>{name}: {problem} (at byte {offset})</source>
        <translation>{name}: {problem} (바이트 {offset})</translation>
    </message>
    <message>
        <source>{name}: not a GGUF file (starts with {data})</source>
        <translation>{name}: GGUF 파일이 아닙니다({data}(으)로 시작함)</translation>
    </message>
    <message>
        <source>{name}: only {n_bytes} bytes, not a GGUF file</source>
        <translation>{name}: {n_bytes}바이트뿐이며 GGUF 파일이 아닙니다</translation>
    </message>
    <message>
        <source>Give the text file with --model and the mmproj file with --mmproj.</source>
        <translation>텍스트 파일은 --model로, mmproj 파일은 --mmproj로 지정하세요.</translation>
    </message>
    <message>
        <source>A newer llama-cpp-python may know it. docs/models.md lists what this one runs.</source>
        <translation>더 새로운 llama-cpp-python은 알 수도 있습니다. docs/models.md에 이 버전이 실행하는 모델이 있습니다.</translation>
    </message>
    <message>
        <source>{name} is not an mmproj file: it names no projector</source>
        <translation>{name}은(는) mmproj 파일이 아닙니다. 프로젝터 이름이 없습니다</translation>
    </message>
    <message>
        <source>{name} has the unknown projector {projector}</source>
        <translation>{name}의 프로젝터 {projector}을(를) 알지 못합니다</translation>
    </message>
    <message>
        <source>A text model alone cannot see: give the mmproj file of this model with --mmproj.</source>
        <translation>텍스트 모델만으로는 볼 수 없습니다. 이 모델의 mmproj 파일을 --mmproj로 지정하세요.</translation>
    </message>
    <message>
        <source>Give the mmproj file that reads pictures.</source>
        <translation>그림을 읽는 mmproj 파일을 지정하세요.</translation>
    </message>
    <message>
        <source>Use the mmproj file that was published with this text file.</source>
        <translation>이 텍스트 파일과 함께 배포된 mmproj 파일을 쓰세요.</translation>
    </message>
    <message>
        <source>Fetch the file again.</source>
        <translation>파일을 다시 내려받으세요.</translation>
    </message>
    <message>
        <source>Files that are split into parts must be merged first: llama-gguf-split --merge.</source>
        <translation>나뉜 파일은 먼저 합쳐야 합니다: llama-gguf-split --merge.</translation>
    </message>
    <message>
        <source>The file is damaged: fetch it again.</source>
        <translation>파일이 손상되었습니다. 다시 내려받으세요.</translation>
    </message>
    <message>
        <source>{name} is not an mmproj file (architecture {architecture})</source>
        <translation>{name}은(는) mmproj 파일이 아닙니다(아키텍처 {architecture})</translation>
    </message>
    <message>
        <source>{name} has no encoder for pictures:{heard}</source>
        <translation>{name}에 그림 인코더가 없습니다:{heard}</translation>
    </message>
    <message>
        <source>{name} belongs to {family}, but {model} is a text model of the architecture {architecture}</source>
        <translation>{name}은(는) {family}용인데 {model}은(는) {architecture} 아키텍처의 텍스트 모델입니다</translation>
    </message>
    <message>
        <source>{name} has no vocabulary ({tokens})</source>
        <translation>{name}에 어휘가 없습니다({tokens})</translation>
    </message>
    <message>
        <source>{name} has no tensor &apos;token_embd.weight&apos;</source>
        <translation>{name}에 텐서 &apos;token_embd.weight&apos;가 없습니다</translation>
    </message>
    <message>
        <source>{name} was made for a text model of another width than {text} ({width})</source>
        <translation>{name}은(는) {text}({width})과 너비가 다른 텍스트 모델용으로 만들어졌습니다</translation>
    </message>
    <message>
        <source>{name}: {key} is neither a number nor a list of {n}, up to {most_width}</source>
        <translation>{name}: {key}은(는) 숫자도 아니고, 최대 {most_width}인 숫자 {n}개의 목록도 아닙니다</translation>
    </message>
    <message>
        <source>{name}: {key} is {value}, it must be from 0 to {most_width}</source>
        <translation>{name}: {key}이(가) {value}입니다. 0부터 {most_width}까지여야 합니다</translation>
    </message>
    <message>
        <source>{name}: {prefix}.{key} is {value}, it must be from 1 to {most}</source>
        <translation>{name}: {prefix}.{key}이(가) {value}입니다. 1부터 {most}까지여야 합니다</translation>
    </message>
    <message>
        <source>Use the two files that one `llavao1-edge convert` wrote.</source>
        <translation>`llavao1-edge convert` 한 번으로 만든 두 파일을 쓰세요.</translation>
    </message>
    <message>
        <source>Rescue it with: llavao1-edge convert FILE (see docs/converting.md).</source>
        <translation>이렇게 살릴 수 있습니다: llavao1-edge convert FILE (docs/converting.md 참고).</translation>
    </message>
    <message>
        <source>Use the text file that `llavao1-edge convert` wrote.</source>
        <translation>`llavao1-edge convert`가 만든 텍스트 파일을 쓰세요.</translation>
    </message>
    <message>
        <source>Use the mmproj-*.gguf that `llavao1-edge convert` wrote beside the text file.</source>
        <translation>`llavao1-edge convert`가 텍스트 파일 옆에 만든 mmproj-*.gguf를 쓰세요.</translation>
    </message>
    <message>
        <source>Convert the checkpoint with: llavao1-edge convert FOLDER.</source>
        <translation>체크포인트를 변환하세요: llavao1-edge convert FOLDER.</translation>
    </message>
    <message>
        <source>Convert the checkpoint again, or install the matching llavao1-edge.</source>
        <translation>체크포인트를 다시 변환하거나 맞는 버전의 llavao1-edge를 설치하세요.</translation>
    </message>
    <message>
        <source>{name} is an mmproj file, expected the text model</source>
        <translation>{name}은(는) mmproj 파일입니다. 텍스트 모델이 필요합니다</translation>
    </message>
    <message>
        <source>{name} and {other} were not made from the same checkpoint ({id} and {other_id})</source>
        <translation>{name}과(와) {other}은(는) 같은 체크포인트에서 만들어지지 않았습니다({id}, {other_id})</translation>
    </message>
    <message>
        <source>{name} has {n_layers} layers, {other} was made for {wanted}</source>
        <translation>{name}은(는) {n_layers}층인데 {other}은(는) {wanted}층용으로 만들어졌습니다</translation>
    </message>
    <message>
        <source>{name} is a Llama-3.2-Vision file made for old Ollama versions</source>
        <translation>{name}은(는) 옛 Ollama 버전용 Llama-3.2-Vision 파일입니다</translation>
    </message>
    <message>
        <source>{name} holds architecture {architecture}, expected {wanted}</source>
        <translation>{name}의 아키텍처는 {architecture}입니다. {wanted}이어야 합니다</translation>
    </message>
    <message>
        <source>{name} is not an mmproj file for this model (projector {kind})</source>
        <translation>{name}은(는) 이 모델의 mmproj 파일이 아닙니다(프로젝터 {kind})</translation>
    </message>
    <message>
        <source>{name} was not written by llavao1-edge (no {version})</source>
        <translation>{name}은(는) llavao1-edge가 만든 파일이 아닙니다({version} 없음)</translation>
    </message>
    <message>
        <source>{name} has contract version {version}, this program reads {contract_version}</source>
        <translation>{name}의 계약 버전은 {version}이고, 이 프로그램은 {contract_version}을(를) 읽습니다</translation>
    </message>
    <message>
        <source>there is no device {name}</source>
        <translation>장치 {name}이(가) 없습니다</translation>
    </message>
    <message>
        <source>This machine has: {known}.</source>
        <translation>이 컴퓨터에 있는 장치: {known}.</translation>
    </message>
    <message>
        <source>no plug-in {name} was added here</source>
        <translation>플러그인 {name}은(는) 여기에 추가된 적이 없습니다</translation>
    </message>
    <message>
        <source>LLAVAO1_PLUGINS takes another folder.</source>
        <translation>LLAVAO1_PLUGINS로 다른 폴더를 지정할 수 있습니다.</translation>
    </message>
    <message>
        <source>There is: {known}.</source>
        <translation>있는 것: {known}.</translation>
    </message>
    <message>
        <source>cannot write {target}: {reason}</source>
        <translation>{target}을(를) 쓸 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>Use the same version of llama-cpp-python on both computers.</source>
        <translation>두 컴퓨터에서 같은 버전의 llama-cpp-python을 쓰세요.</translation>
    </message>
    <message>
        <source>there is no device to serve</source>
        <translation>제공할 장치가 없습니다</translation>
    </message>
    <message>
        <source>`llavao1-edge devices` lists them.</source>
        <translation>`llavao1-edge devices`가 목록을 보여 줍니다.</translation>
    </message>
    <message>
        <source>the RPC server on {endpoint} ended</source>
        <translation>{endpoint}의 RPC 서버가 끝났습니다</translation>
    </message>
    <message>
        <source>It serves one program at a time: is another one using it?</source>
        <translation>이 서버는 한 번에 한 프로그램만 받습니다. 다른 프로그램이 쓰고 있나요?</translation>
    </message>
    <message>
        <source>Start it there with `llavao1-edge devices serve`.</source>
        <translation>그 컴퓨터에서 `llavao1-edge devices serve`로 시작하세요.</translation>
    </message>
    <message>
        <source>the RPC server {where} speaks version {major}.{minor}.{patch}, not {protocol}</source>
        <translation>RPC 서버 {where}의 버전은 {major}.{minor}.{patch}이며 {protocol}이(가) 아닙니다</translation>
    </message>
    <message>
        <source>the RPC server {where} does not answer</source>
        <translation>RPC 서버 {where}이(가) 응답하지 않습니다</translation>
    </message>
    <message>
        <source>the RPC server {where} cannot be reached: {reason}</source>
        <translation>RPC 서버 {where}에 연결할 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>ggml refuses the RPC server {endpoint}</source>
        <translation>ggml이 RPC 서버 {endpoint}을(를) 거부합니다</translation>
    </message>
    <message>
        <source>Choose another port.</source>
        <translation>다른 포트를 고르세요.</translation>
    </message>
    <message>
        <source>cannot listen on {endpoint}: {reason}</source>
        <translation>{endpoint}에서 연결을 받을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>{name} ended early ({ending})</source>
        <translation>{name}이(가) 일찍 끝났습니다({ending})</translation>
    </message>
    <message>
        <source>stopped before the answer began</source>
        <translation>답이 시작되기 전에 중지되었습니다</translation>
    </message>
    <message>
        <source>the {told} is used up; the best branch was finished</source>
        <translation>{told}을(를) 다 썼습니다. 가장 좋은 가지를 마무리했습니다</translation>
    </message>
    <message>
        <source>Ask for fewer candidates, or close conversations.</source>
        <translation>후보를 줄이거나 대화를 닫으세요.</translation>
    </message>
    <message>
        <source>all {n_sequences} sequences are in use</source>
        <translation>시퀀스 {n_sequences}개가 모두 쓰이고 있습니다</translation>
    </message>
    <message>
        <source>no tokens</source>
        <translation>토큰이 없습니다</translation>
    </message>
    <message>
        <source>Give the ids of the model&apos;s own tokenizer.</source>
        <translation>모델 자신의 토크나이저가 만든 id를 주세요.</translation>
    </message>
    <message>
        <source>Put it where the picture stands, or give no picture.</source>
        <translation>그림이 있는 자리에 넣거나, 그림을 주지 마세요.</translation>
    </message>
    <message>
        <source>a picture was given, but the tokens hold no image token ({token})</source>
        <translation>그림을 주었지만 토큰에 그림 토큰({token})이 없습니다</translation>
    </message>
    <message>
        <source>token ids {bad} are outside 0..{n_vocab}</source>
        <translation>토큰 id {bad}이(가) 0..{n_vocab} 밖에 있습니다</translation>
    </message>
    <message>
        <source>{name}: {n} branches went on in {groups} groups</source>
        <translation>{name}: 가지 {n}개를 {groups}묶음으로 나누어 이어 갔습니다</translation>
    </message>
    <message>
        <source>Ask about each of them, or join them into one picture.</source>
        <translation>하나씩 질문하거나 한 그림으로 합치세요.</translation>
    </message>
    <message>
        <source>both a model and a text file were given</source>
        <translation>모델과 텍스트 파일을 둘 다 지정했습니다</translation>
    </message>
    <message>
        <source>Give one of them.</source>
        <translation>둘 중 하나만 지정하세요.</translation>
    </message>
    <message>
        <source>Check the path.</source>
        <translation>경로를 확인하세요.</translation>
    </message>
    <message>
        <source>Give one with --mmproj FILE. A text model alone cannot see.</source>
        <translation>--mmproj FILE로 지정하세요. 텍스트 모델만으로는 볼 수 없습니다.</translation>
    </message>
    <message>
        <source>the model does not run here</source>
        <translation>이 모델은 여기에서 실행되지 않습니다</translation>
    </message>
    <message>
        <source>Open its files: Engine.open.</source>
        <translation>모델의 파일을 여세요: Engine.open.</translation>
    </message>
    <message>
        <source>the model is closed</source>
        <translation>모델이 닫혀 있습니다</translation>
    </message>
    <message>
        <source>Open it again with Engine.open.</source>
        <translation>Engine.open으로 다시 여세요.</translation>
    </message>
    <message>
        <source>{n} pictures were given, and this model was trained on one for each question</source>
        <translation>그림 {n}장을 주었지만 이 모델은 질문마다 한 장으로 학습되었습니다</translation>
    </message>
    <message>
        <source>the demo model brings its own mmproj file</source>
        <translation>데모 모델에는 자체 mmproj 파일이 있습니다</translation>
    </message>
    <message>
        <source>Leave --mmproj out.</source>
        <translation>--mmproj를 빼세요.</translation>
    </message>
    <message>
        <source>cannot read model file {path}: no such file</source>
        <translation>모델 파일 {path}을(를) 읽을 수 없습니다: 그런 파일이 없습니다</translation>
    </message>
    <message>
        <source>no single mmproj file for {path} (found: {there})</source>
        <translation>{path}에 맞는 mmproj 파일이 하나로 정해지지 않습니다(찾은 것: {there})</translation>
    </message>
    <message>
        <source>parallel is {parallel}</source>
        <translation>parallel이 {parallel}입니다</translation>
    </message>
    <message>
        <source>It must be between 1 and {most_parallel}.</source>
        <translation>1부터 {most_parallel}까지여야 합니다.</translation>
    </message>
    <message>
        <source>the answer does not follow {name}, at {place}: {message}</source>
        <translation>답이 {name}을(를) 따르지 않습니다. 위치 {place}: {message}</translation>
    </message>
    <message>
        <source>Give one of --choices, --answer, --json-schema, --grammar.</source>
        <translation>--choices, --answer, --json-schema, --grammar 중 하나만 지정하세요.</translation>
    </message>
    <message>
        <source>It must be a JSON schema.</source>
        <translation>JSON 스키마여야 합니다.</translation>
    </message>
    <message>
        <source>the answer was cut off before it had the form of {name}</source>
        <translation>{name} 형식을 갖추기 전에 답이 잘렸습니다</translation>
    </message>
    <message>
        <source>Choose another strategy, or leave the form of the conclusion out.</source>
        <translation>다른 전략을 고르거나 결론의 형식을 빼세요.</translation>
    </message>
    <message>
        <source>{n_given} answer formats were given</source>
        <translation>답 형식을 {n_given}개 지정했습니다</translation>
    </message>
    <message>
        <source>{name} holds {kind}</source>
        <translation>{name}에 {kind}이(가) 들어 있습니다</translation>
    </message>
    <message>
        <source>Use a simpler schema.</source>
        <translation>더 단순한 스키마를 쓰세요.</translation>
    </message>
    <message>
        <source>{name}: $schema is not text</source>
        <translation>{name}: $schema가 텍스트가 아닙니다</translation>
    </message>
    <message>
        <source>the answer is not JSON ({error})</source>
        <translation>답이 JSON이 아닙니다({error})</translation>
    </message>
    <message>
        <source>the answer cannot be checked against {name}: {error}</source>
        <translation>답을 {name}에 맞추어 확인할 수 없습니다: {error}</translation>
    </message>
    <message>
        <source>the strategy {name} leaves the form of the answer to the model</source>
        <translation>전략 {name}은(는) 답의 형식을 모델에 맡깁니다</translation>
    </message>
    <message>
        <source>That is not a grammar.</source>
        <translation>그것은 문법이 아닙니다.</translation>
    </message>
    <message>
        <source>{name}, line {line}, column {column}: {problem}</source>
        <translation>{name}, {line}행 {column}열: {problem}</translation>
    </message>
    <message>
        <source>{name} is nested too deeply</source>
        <translation>{name}의 중첩이 너무 깊습니다</translation>
    </message>
    <message>
        <source>{name} has an infinite number</source>
        <translation>{name}에 무한대인 수가 있습니다</translation>
    </message>
    <message>
        <source>{name}, at {place}: {message}</source>
        <translation>{name}, 위치 {place}: {message}</translation>
    </message>
    <message>
        <source>{path} is not a file</source>
        <translation>{path}은(는) 파일이 아닙니다</translation>
    </message>
    <message>
        <source>{path} is larger than 1 MB</source>
        <translation>{path}이(가) 1 MB보다 큽니다</translation>
    </message>
    <message>
        <source>cannot read {path}: {reason}</source>
        <translation>{path}을(를) 읽을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>{name}: {key} is {least}</source>
        <translation>{name}: {key}이(가) {least}입니다</translation>
    </message>
    <message>
        <source>no room for the judge</source>
        <translation>판정에 쓸 자리가 없습니다</translation>
    </message>
    <message>
        <source>mllama: {n_layers} self-attention and {cross_layers} cross-attention layers, vision of {local_layers} + {global_layers} layers</source>
        <translation>mllama: 자기 어텐션 {n_layers}층, 교차 어텐션 {cross_layers}층, 비전 {local_layers} + {global_layers}층</translation>
    </message>
    <message>
        <source>this model needs {needed:.2f} GB of memory, {usable:.2f} GB can be used ({short:.2f} GB short)</source>
        <translation>이 모델에는 메모리 {needed:.2f} GB가 필요한데 {usable:.2f} GB를 쓸 수 있습니다({short:.2f} GB 부족)</translation>
    </message>
    <message>
        <source>text {text}, vision {vision}</source>
        <translation>텍스트 {text}, 비전 {vision}</translation>
    </message>
    <message>
        <source>text {text}, mmproj {mmproj}</source>
        <translation>텍스트 {text}, mmproj {mmproj}</translation>
    </message>
    <message>
        <source>{family}: {name} of {n_layers} layers, vision of {vision} layers; llama.cpp runs it itself</source>
        <translation>{family}: {name} {n_layers}층, 비전 {vision}층. llama.cpp가 직접 실행합니다</translation>
    </message>
    <message>
        <source>together {needed} of {free} free</source>
        <translation>모두 {needed}, 빈 메모리 {free}</translation>
    </message>
    <message>
        <source>context {n_ctx} tokens, {width} candidates side by side</source>
        <translation>문맥 토큰 {n_ctx}개, 나란히 가는 후보 {width}개</translation>
    </message>
    <message>
        <source>{n} of {width} candidates side by side; the rest wait their turn</source>
        <translation>후보 {width}개 중 {n}개가 나란히 갑니다. 나머지는 차례를 기다립니다</translation>
    </message>
    <message>
        <source>a context of {n_ctx} tokens instead of {context}</source>
        <translation>문맥 토큰 {context}개 대신 {n_ctx}개</translation>
    </message>
    <message>
        <source>mapped besides, needed only while loading: {mapped:.2f} GB</source>
        <translation>그 밖에 불러올 때만 매핑: {mapped:.2f} GB</translation>
    </message>
    <message>
        <source>on the GPU: {n_layers} layers, {gpu:.2f} GB; pictures are read there</source>
        <translation>GPU에 {n_layers}층, {gpu:.2f} GB. 그림도 GPU에서 읽습니다</translation>
    </message>
    <message>
        <source>on the GPU: {n_layers} layers, {gpu:.2f} GB; pictures are not read there</source>
        <translation>GPU에 {n_layers}층, {gpu:.2f} GB. 그림은 GPU에서 읽지 않습니다</translation>
    </message>
    <message>
        <source>Convert with --quant {name} ({saved:.1f} GB less), or close other programs; --memory-check off tries it all the same.</source>
        <translation>--quant {name}(으)로 변환하거나({saved:.1f} GB 절약) 다른 프로그램을 닫으세요. --memory-check off를 쓰면 그대로 시도합니다.</translation>
    </message>
    <message>
        <source>given up: {what}</source>
        <translation>포기한 것: {what}</translation>
    </message>
    <message>
        <source>{layers} of {n_layers} layers are on the GPU</source>
        <translation>{n_layers}층 중 {layers}층이 GPU에 있습니다</translation>
    </message>
    <message>
        <source>more than {n_sequences} candidates and conversations at once</source>
        <translation>후보와 대화가 한꺼번에 {n_sequences}개를 넘었습니다</translation>
    </message>
    <message>
        <source>a conversation has one picture with this model, and this one has it already</source>
        <translation>이 모델에서는 대화마다 그림이 한 장이며, 이 대화에는 이미 있습니다</translation>
    </message>
    <message>
        <source>Start a new session for another picture.</source>
        <translation>다른 그림은 새 대화에서 시작하세요.</translation>
    </message>
    <message>
        <source>{name}: written in {waves} waves of at most {n}; the context holds {n_ctx}</source>
        <translation>{name}: 최대 {n}개씩 {waves}번에 나누어 썼습니다. 문맥에는 토큰 {n_ctx}개가 들어갑니다</translation>
    </message>
    <message>
        <source>At most {most} can be followed.</source>
        <translation>최대 {most}까지 따를 수 있습니다.</translation>
    </message>
    <message>
        <source>a picture must come before the first question</source>
        <translation>그림은 첫 질문보다 먼저 있어야 합니다</translation>
    </message>
    <message>
        <source>Start a new session with the picture.</source>
        <translation>그림과 함께 새 대화를 시작하세요.</translation>
    </message>
    <message>
        <source>the conversation is closed</source>
        <translation>대화가 닫혀 있습니다</translation>
    </message>
    <message>
        <source>Start a new session.</source>
        <translation>새 대화를 시작하세요.</translation>
    </message>
    <message>
        <source>a conversation has {most} pictures with this model at most</source>
        <translation>이 모델에서는 대화마다 그림이 최대 {most}장입니다</translation>
    </message>
    <message>
        <source>Ask in a new conversation, or start with a larger --context.</source>
        <translation>새 대화에서 질문하거나 더 큰 --context로 시작하세요.</translation>
    </message>
    <message>
        <source>the conversation needs {n_tokens} tokens, the context holds {n_ctx}</source>
        <translation>대화에는 토큰 {n_tokens}개가 필요한데 문맥에는 {n_ctx}개가 들어갑니다</translation>
    </message>
    <message>
        <source>another answer is still being written</source>
        <translation>다른 답을 아직 쓰고 있습니다</translation>
    </message>
    <message>
        <source>Finish or close its stream first.</source>
        <translation>먼저 그 스트림을 끝내거나 닫으세요.</translation>
    </message>
    <message>
        <source>the computation was interrupted</source>
        <translation>계산이 중단되었습니다</translation>
    </message>
    <message>
        <source>Ask again.</source>
        <translation>다시 질문하세요.</translation>
    </message>
    <message>
        <source>Convert the checkpoint again with this version.</source>
        <translation>이 버전으로 체크포인트를 다시 변환하세요.</translation>
    </message>
    <message>
        <source>Leave it out.</source>
        <translation>빼세요.</translation>
    </message>
    <message>
        <source>the chat format of {name} is not known</source>
        <translation>{name}의 대화 형식을 알지 못합니다</translation>
    </message>
    <message>
        <source>{name}: {n_logits} logits, image token {image_token}, {n_vocab} tokens</source>
        <translation>{name}: 로짓 {n_logits}개, 그림 토큰 {image_token}, 토큰 {n_vocab}개</translation>
    </message>
    <message>
        <source>chat_format is {chat_format}, but this model has a format of its own</source>
        <translation>chat_format이 {chat_format}이지만 이 모델에는 자체 형식이 있습니다</translation>
    </message>
    <message>
        <source>Name it with --chat-format: one of {formats}.</source>
        <translation>--chat-format으로 지정하세요: {formats} 중 하나.</translation>
    </message>
    <message>
        <source>chat_format is {name}, but {vocabulary} has no token {missing}</source>
        <translation>chat_format이 {name}이지만 {vocabulary}에 토큰 {missing}이(가) 없습니다</translation>
    </message>
    <message>
        <source>Choose another of {formats}.</source>
        <translation>{formats} 중 다른 것을 고르세요.</translation>
    </message>
    <message>
        <source>Wait for its end, or choose another folder with --out.</source>
        <translation>끝날 때까지 기다리거나 --out으로 다른 폴더를 고르세요.</translation>
    </message>
    <message>
        <source>another run is writing into {parent}</source>
        <translation>다른 실행이 {parent}에 쓰고 있습니다</translation>
    </message>
    <message>
        <source>this llama.cpp build has no CPU device</source>
        <translation>이 llama.cpp 빌드에는 CPU 장치가 없습니다</translation>
    </message>
    <message>
        <source>Reinstall llama-cpp-python.</source>
        <translation>llama-cpp-python을 다시 설치하세요.</translation>
    </message>
    <message>
        <source>a mapped file</source>
        <translation>매핑된 파일</translation>
    </message>
    <message>
        <source>a trial</source>
        <translation>시험</translation>
    </message>
    <message>
        <source>Close other programs, use a smaller quantisation or fewer GPU layers.</source>
        <translation>다른 프로그램을 닫거나, 더 작은 양자화나 더 적은 GPU 층을 쓰세요.</translation>
    </message>
    <message>
        <source>Try --gpu-layers 0 to compute on the CPU.</source>
        <translation>--gpu-layers 0으로 CPU에서 계산해 보세요.</translation>
    </message>
    <message>
        <source>Usually too little memory: try fewer GPU layers or a smaller context.</source>
        <translation>대개 메모리가 부족한 것입니다. GPU 층을 줄이거나 문맥을 줄여 보세요.</translation>
    </message>
    <message>
        <source>tensor {name} cannot be placed in its buffer ({status})</source>
        <translation>텐서 {name}을(를) 버퍼에 놓을 수 없습니다({status})</translation>
    </message>
    <message>
        <source>not enough memory for {purpose}</source>
        <translation>{purpose}에 쓸 메모리가 부족합니다</translation>
    </message>
    <message>
        <source>device {name} ({description}) cannot be started</source>
        <translation>장치 {name}({description})을(를) 시작할 수 없습니다</translation>
    </message>
    <message>
        <source>Read pictures on the CPU: --mmproj-device cpu.</source>
        <translation>그림을 CPU에서 읽으세요: --mmproj-device cpu.</translation>
    </message>
    <message>
        <source>ggml failed to compute a graph on {name} (status {status})</source>
        <translation>ggml이 {name}에서 그래프를 계산하지 못했습니다(상태 {status})</translation>
    </message>
    <message>
        <source>device {name} has no number of threads</source>
        <translation>장치 {name}에는 스레드 수가 없습니다</translation>
    </message>
    <message>
        <source>{name} ({description}) cannot compute {operation} of {shape}</source>
        <translation>{name}({description})은(는) {shape}의 {operation}을(를) 계산할 수 없습니다</translation>
    </message>
    <message>
        <source>not enough memory to compute a graph</source>
        <translation>그래프를 계산할 메모리가 부족합니다</translation>
    </message>
    <message>
        <source>Close other programs, or compute the picture on the CPU (--gpu-layers 0).</source>
        <translation>다른 프로그램을 닫거나 그림을 CPU에서 계산하세요(--gpu-layers 0).</translation>
    </message>
    <message>
        <source>a graph was run that its scratch memory no longer holds</source>
        <translation>작업 메모리에 더는 없는 그래프를 실행했습니다</translation>
    </message>
    <message>
        <source>Install llama-cpp-python&gt;=0.3.36,&lt;0.4, the range this version was tested with.</source>
        <translation>이 버전을 시험한 범위인 llama-cpp-python&gt;=0.3.36,&lt;0.4를 설치하세요.</translation>
    </message>
    <message>
        <source>this llama.cpp has no function {name}</source>
        <translation>이 llama.cpp에는 함수 {name}이(가) 없습니다</translation>
    </message>
    <message>
        <source>Reinstall it with: pip install --force-reinstall &apos;llama-cpp-python&gt;=0.3.36,&lt;0.4&apos;</source>
        <translation>다시 설치하세요: pip install --force-reinstall &apos;llama-cpp-python&gt;=0.3.36,&lt;0.4&apos;</translation>
    </message>
    <message>
        <source>this ggml lays out its tensors in a way we do not know: {seen}</source>
        <translation>이 ggml은 알지 못하는 방식으로 텐서를 배치합니다: {seen}</translation>
    </message>
    <message>
        <source>llama-cpp-python cannot be loaded: {error}</source>
        <translation>llama-cpp-python을 불러올 수 없습니다: {error}</translation>
    </message>
    <message>
        <source>Vulkan needs libvulkan1 and your card&apos;s driver (mesa-vulkan-drivers on Debian).</source>
        <translation>Vulkan에는 libvulkan1과 그래픽 카드 드라이버(Debian의 mesa-vulkan-drivers)가 필요합니다.</translation>
    </message>
    <message>
        <source>A backend built elsewhere may not fit this ggml and end the process: build it with `make plugin-vulkan` or `make plugin-rpc`.</source>
        <translation>다른 곳에서 빌드한 백엔드는 이 ggml에 맞지 않아 프로세스를 끝낼 수 있습니다. `make plugin-vulkan`이나 `make plugin-rpc`로 빌드하세요.</translation>
    </message>
    <message>
        <source>{path} is not a plug-in made for llavao1-edge</source>
        <translation>{path}은(는) llavao1-edge용 플러그인이 아닙니다</translation>
    </message>
    <message>
        <source>{path} was built for {stamp}; here is {here}</source>
        <translation>{path}은(는) {stamp}용으로 빌드되었는데 여기는 {here}입니다</translation>
    </message>
    <message>
        <source>ggml refuses the plug-in {path}</source>
        <translation>ggml이 플러그인 {path}을(를) 거부합니다</translation>
    </message>
    <message>
        <source>this ggml has no {registry} backend</source>
        <translation>이 ggml에는 {registry} 백엔드가 없습니다</translation>
    </message>
    <message>
        <source>there is no plug-in file {path}</source>
        <translation>플러그인 파일 {path}이(가) 없습니다</translation>
    </message>
    <message>
        <source>Build it again.</source>
        <translation>다시 빌드하세요.</translation>
    </message>
    <message>
        <source>Build it again: `make plugin-{plugin}`.</source>
        <translation>다시 빌드하세요: `make plugin-{plugin}`.</translation>
    </message>
    <message>
        <source>the plug-in {plugin} cannot be loaded: {error}</source>
        <translation>플러그인 {plugin}을(를) 불러올 수 없습니다: {error}</translation>
    </message>
    <message>
        <source>Add the plug-in: `llavao1-edge devices add {registry}`.</source>
        <translation>플러그인을 추가하세요: `llavao1-edge devices add {registry}`.</translation>
    </message>
    <message>
        <source>{path} is empty</source>
        <translation>{path}이(가) 비어 있습니다</translation>
    </message>
    <message>
        <source>this ggml describes type {number} as {name} in blocks of {block}, expected {wanted}</source>
        <translation>이 ggml은 유형 {number}을(를) {block}개 블록의 {name}(으)로 설명합니다. {wanted}이어야 합니다</translation>
    </message>
    <message>
        <source>ggml wrote {written} bytes of {name}, expected {nbytes}</source>
        <translation>ggml이 {name}을(를) {written}바이트 썼습니다. {nbytes}바이트여야 합니다</translation>
    </message>
    <message>
        <source>ggml could not create a tensor (out of memory for its description)</source>
        <translation>ggml이 텐서를 만들 수 없습니다(설명에 쓸 메모리 부족)</translation>
    </message>
    <message>
        <source>{nbytes} bytes do not fit tensor {name} of {n_bytes}</source>
        <translation>{nbytes}바이트는 {n_bytes}바이트인 텐서 {name}에 맞지 않습니다</translation>
    </message>
    <message>
        <source>tensor {name} has no F32 values on the CPU</source>
        <translation>텐서 {name}의 F32 값이 CPU에 없습니다</translation>
    </message>
    <message>
        <source>ggml could not get {n_bytes} bytes for tensor descriptions</source>
        <translation>ggml이 텐서 설명에 쓸 {n_bytes}바이트를 얻지 못했습니다</translation>
    </message>
    <message>
        <source>Nothing is downloaded: save it first.</source>
        <translation>아무것도 내려받지 않습니다. 먼저 저장하세요.</translation>
    </message>
    <message>
        <source>Copy the picture here first.</source>
        <translation>그림을 먼저 여기로 복사하세요.</translation>
    </message>
    <message>
        <source>{text} is an address on the web</source>
        <translation>{text}은(는) 웹 주소입니다</translation>
    </message>
    <message>
        <source>Give a path.</source>
        <translation>경로를 지정하세요.</translation>
    </message>
    <message>
        <source>{text} is on the computer {host}</source>
        <translation>{text}은(는) 컴퓨터 {host}에 있습니다</translation>
    </message>
    <message>
        <source>{text} is not an address: {error}</source>
        <translation>{text}은(는) 주소가 아닙니다: {error}</translation>
    </message>
    <message>
        <source>Save the picture smaller.</source>
        <translation>그림을 더 작게 저장하세요.</translation>
    </message>
    <message>
        <source>It must be (height, width, 3) of uint8.</source>
        <translation>uint8의 (높이, 너비, 3)이어야 합니다.</translation>
    </message>
    <message>
        <source>Open it with mode &quot;rb&quot;.</source>
        <translation>&quot;rb&quot; 모드로 여세요.</translation>
    </message>
    <message>
        <source>{name} has {n:.0f} MB, at most {most:.0f} are read</source>
        <translation>{name}은(는) {n:.0f} MB입니다. 최대 {most:.0f} MB까지 읽습니다</translation>
    </message>
    <message>
        <source>Choose another picture.</source>
        <translation>다른 그림을 고르세요.</translation>
    </message>
    <message>
        <source>Cut out the part that matters.</source>
        <translation>중요한 부분을 잘라 내세요.</translation>
    </message>
    <message>
        <source>{name} has more than {most} million pixels</source>
        <translation>{name}은(는) {most}백만 픽셀이 넘습니다</translation>
    </message>
    <message>
        <source>{name} is an array {shape} of {dtype}</source>
        <translation>{name}은(는) {dtype}의 배열 {shape}입니다</translation>
    </message>
    <message>
        <source>{name} was opened as text</source>
        <translation>{name}이(가) 텍스트로 열렸습니다</translation>
    </message>
    <message>
        <source>Give a picture file.</source>
        <translation>그림 파일을 지정하세요.</translation>
    </message>
    <message>
        <source>{name} is empty</source>
        <translation>{name}이(가) 비어 있습니다</translation>
    </message>
    <message>
        <source>Save the picture again.</source>
        <translation>그림을 다시 저장하세요.</translation>
    </message>
    <message>
        <source>{name} is a PDF document</source>
        <translation>{name}은(는) PDF 문서입니다</translation>
    </message>
    <message>
        <source>Save its page as a picture, for example as PNG.</source>
        <translation>그 페이지를 PNG 같은 그림으로 저장하세요.</translation>
    </message>
    <message>
        <source>{name} is an SVG drawing</source>
        <translation>{name}은(는) SVG 그림입니다</translation>
    </message>
    <message>
        <source>Export it as a picture, for example as PNG.</source>
        <translation>PNG 같은 그림으로 내보내세요.</translation>
    </message>
    <message>
        <source>{name} is a web page, not a picture</source>
        <translation>{name}은(는) 그림이 아니라 웹 페이지입니다</translation>
    </message>
    <message>
        <source>Save the picture itself from the page.</source>
        <translation>페이지에서 그림 자체를 저장하세요.</translation>
    </message>
    <message>
        <source>Close other programs, or save it smaller.</source>
        <translation>다른 프로그램을 닫거나 더 작게 저장하세요.</translation>
    </message>
    <message>
        <source>Open and save it in another program.</source>
        <translation>다른 프로그램에서 열어 저장하세요.</translation>
    </message>
    <message>
        <source>{name} has no pixels</source>
        <translation>{name}에 픽셀이 없습니다</translation>
    </message>
    <message>
        <source>{name} is {width} × {height} pixels; a side has at most {most}</source>
        <translation>{name}은(는) {width} × {height}픽셀입니다. 한 변은 최대 {most}픽셀입니다</translation>
    </message>
    <message>
        <source>it is large and was read at 1/{factor} of its size</source>
        <translation>그림이 커서 1/{factor} 크기로 읽었습니다</translation>
    </message>
    <message>
        <source>{path} is a folder</source>
        <translation>{path}은(는) 폴더입니다</translation>
    </message>
    <message>
        <source>{path} is not a regular file</source>
        <translation>{path}은(는) 일반 파일이 아닙니다</translation>
    </message>
    <message>
        <source>cannot read picture {path}: {reason}</source>
        <translation>그림 {path}을(를) 읽을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>draft model</source>
        <translation>초안 모델</translation>
    </message>
    <message>
        <source>{name} is an mmproj file, a draft model is a text model</source>
        <translation>{name}은(는) mmproj 파일입니다. 초안 모델은 텍스트 모델이어야 합니다</translation>
    </message>
    <message>
        <source>{name} has {n_own} tokens, {text} has {n_other}: another vocabulary</source>
        <translation>{name}에는 토큰이 {n_own}개, {text}에는 {n_other}개 있습니다. 어휘가 다릅니다</translation>
    </message>
    <message>
        <source>{name} has another vocabulary than {text}: token {token} is {a}, not {b}</source>
        <translation>{name}의 어휘가 {text}와(과) 다릅니다. 토큰 {token}은(는) {b}이(가) 아니라 {a}입니다</translation>
    </message>
    <message>
        <source>cannot read model file {path}: it is a folder</source>
        <translation>모델 파일 {path}을(를) 읽을 수 없습니다: 폴더입니다</translation>
    </message>
    <message>
        <source>cannot read model file {path}: it is not a regular file</source>
        <translation>모델 파일 {path}을(를) 읽을 수 없습니다: 일반 파일이 아닙니다</translation>
    </message>
    <message>
        <source>A draft model must have attention in every layer: use another one.</source>
        <translation>초안 모델은 모든 레이어에 어텐션이 있어야 합니다. 다른 모델을 사용하세요.</translation>
    </message>
    <message>
        <source>{name} cannot take back what it guessed</source>
        <translation>{name}은(는) 추측한 것을 되돌릴 수 없습니다</translation>
    </message>
    <message>
        <source>Leave --draft out ({saved:.1f} GB less).</source>
        <translation>--draft를 빼세요({saved:.1f} GB 절약).</translation>
    </message>
    <message>
        <source>{weights:.2f} billion weights</source>
        <translation>가중치 {weights:.2f}×10억 개</translation>
    </message>
    <message>
        <source>{weights:.1f} million weights</source>
        <translation>가중치 {weights:.1f}×백만 개</translation>
    </message>
    <message>
        <source>the GPU has no room to read pictures: that is done on the CPU</source>
        <translation>GPU에 그림을 읽을 공간이 없어 CPU에서 읽습니다</translation>
    </message>
    <message>
        <source>the GPU has no room for the draft model: it is on the CPU</source>
        <translation>GPU에 초안 모델을 둘 공간이 없어 CPU에 둡니다</translation>
    </message>
    <message>
        <source>more candidates than the draft model has sequences</source>
        <translation>후보가 초안 모델의 시퀀스보다 많습니다</translation>
    </message>
    <message>
        <source>Its layers have states in place of attention: leave --draft out.</source>
        <translation>이 모델의 레이어에는 어텐션 대신 상태가 있습니다. --draft를 빼세요.</translation>
    </message>
    <message>
        <source>{name} cannot take back guesses</source>
        <translation>{name}은(는) 추측을 되돌릴 수 없습니다</translation>
    </message>
    <message>
        <source>{name} is not a picture this program can read</source>
        <translation>{name}은(는) 이 프로그램이 읽을 수 있는 그림이 아닙니다</translation>
    </message>
    <message>
        <source>not enough memory to open {name}</source>
        <translation>{name}을(를) 열 메모리가 부족합니다</translation>
    </message>
    <message>
        <source>{name} is damaged: {error}</source>
        <translation>{name}이(가) 손상되었습니다: {error}</translation>
    </message>
    <message>
        <source>It reads {listed}.</source>
        <translation>읽을 수 있는 형식: {listed}.</translation>
    </message>
    <message>
        <source>Usually too little memory: try a smaller --context or fewer --gpu-layers.</source>
        <translation>대개 메모리가 부족한 것입니다. --context나 --gpu-layers를 줄여 보세요.</translation>
    </message>
    <message>
        <source>the last batch has no logits</source>
        <translation>마지막 배치에 로짓이 없습니다</translation>
    </message>
    <message>
        <source>llama.cpp cannot create a context of {n_ctx} tokens</source>
        <translation>llama.cpp가 토큰 {n_ctx}개의 문맥을 만들 수 없습니다</translation>
    </message>
    <message>
        <source>the conversation does not fit the context of {n_ctx} tokens</source>
        <translation>대화가 토큰 {n_ctx}개의 문맥에 들어가지 않습니다</translation>
    </message>
    <message>
        <source>llama.cpp could not decode {n_rows} tokens (status {status})</source>
        <translation>llama.cpp가 토큰 {n_rows}개를 디코딩하지 못했습니다(상태 {status})</translation>
    </message>
    <message>
        <source>row {row} of the last batch has no logits</source>
        <translation>마지막 배치의 {row}행에 로짓이 없습니다</translation>
    </message>
    <message>
        <source>Use a simpler grammar or schema.</source>
        <translation>더 단순한 문법이나 스키마를 쓰세요.</translation>
    </message>
    <message>
        <source>{name} is too large: {n_text} characters, {count} rules</source>
        <translation>{name}이(가) 너무 큽니다: {n_text}자, 규칙 {count}개</translation>
    </message>
    <message>
        <source>{name} cannot be followed: {problem}</source>
        <translation>{name}을(를) 따를 수 없습니다: {problem}</translation>
    </message>
    <message>
        <source>At most {most} characters and {n_rules} rules can be followed.</source>
        <translation>최대 {most}자, 규칙 {n_rules}개까지 따를 수 있습니다.</translation>
    </message>
    <message>
        <source>{name} cannot be followed: {first}</source>
        <translation>{name}을(를) 따를 수 없습니다: {first}</translation>
    </message>
    <message>
        <source>the form of the answer cannot be followed further: {first}</source>
        <translation>답의 형식을 더 따를 수 없습니다: {first}</translation>
    </message>
    <message>
        <source>LLAVAO1_LOG=debug says why; usually too little memory: try --gpu-layers 0.</source>
        <translation>LLAVAO1_LOG=debug로 이유를 볼 수 있습니다. 대개 메모리가 부족한 것입니다. --gpu-layers 0을 써 보세요.</translation>
    </message>
    <message>
        <source>Convert the checkpoint again with its own tokenizer.</source>
        <translation>체크포인트를 자신의 토크나이저로 다시 변환하세요.</translation>
    </message>
    <message>
        <source>llama.cpp cannot load {path}</source>
        <translation>llama.cpp가 {path}을(를) 불러올 수 없습니다</translation>
    </message>
    <message>
        <source>llama.cpp could not tokenise {n_data} bytes</source>
        <translation>llama.cpp가 {n_data}바이트를 토큰으로 나누지 못했습니다</translation>
    </message>
    <message>
        <source>the model&apos;s vocabulary has no special token {text}</source>
        <translation>모델의 어휘에 특수 토큰 {text}이(가) 없습니다</translation>
    </message>
    <message>
        <source>loading was stopped</source>
        <translation>불러오기가 중지되었습니다</translation>
    </message>
    <message>
        <source>the grammar leaves no token to continue with</source>
        <translation>문법상 이어 갈 토큰이 없습니다</translation>
    </message>
    <message>
        <source>An answer may not contain a stage tag; check the grammar.</source>
        <translation>답에는 단계 태그가 들어갈 수 없습니다. 문법을 확인하세요.</translation>
    </message>
    <message>
        <source>the grammar cannot be parsed</source>
        <translation>문법을 해석할 수 없습니다</translation>
    </message>
    <message>
        <source>the model computed no usable logits</source>
        <translation>모델이 쓸 수 있는 로짓을 계산하지 못했습니다</translation>
    </message>
    <message>
        <source>The file may be damaged, or a weight type overflows: convert to F32 or Q8_0.</source>
        <translation>파일이 손상되었거나 가중치 형식이 넘칠 수 있습니다. F32나 Q8_0으로 변환하세요.</translation>
    </message>
    <message>
        <source>It begins: {gbnf}</source>
        <translation>시작 부분: {gbnf}</translation>
    </message>
    <message>
        <source>Name a model of `models list`, or a text file (GGUF).</source>
        <translation>`models list`에 있는 모델이나 텍스트 파일(GGUF)을 지정하세요.</translation>
    </message>
    <message>
        <source>Give the text file beside it with --model.</source>
        <translation>옆에 있는 텍스트 파일을 --model로 지정하세요.</translation>
    </message>
    <message>
        <source>model is {model}</source>
        <translation>model이 {model}입니다</translation>
    </message>
    <message>
        <source>{model} is a folder</source>
        <translation>{model}은(는) 폴더입니다</translation>
    </message>
    <message>
        <source>{model} is one file of a checkpoint</source>
        <translation>{model}은(는) 체크포인트의 파일 하나입니다</translation>
    </message>
    <message>
        <source>{model} is an mmproj file</source>
        <translation>{model}은(는) mmproj 파일입니다</translation>
    </message>
    <message>
        <source>there is no file {model}</source>
        <translation>파일 {model}이(가) 없습니다</translation>
    </message>
    <message>
        <source>Convert it: llavao1-edge convert {path} --out models</source>
        <translation>변환하세요: llavao1-edge convert {path} --out models</translation>
    </message>
    <message>
        <source>Convert its folder: llavao1-edge convert {parent} --out models</source>
        <translation>그 폴더를 변환하세요: llavao1-edge convert {parent} --out models</translation>
    </message>
    <message>
        <source>If it is a repository: llavao1-edge models pull {model}</source>
        <translation>저장소라면: llavao1-edge models pull {model}</translation>
    </message>
    <message>
        <source>a measurement</source>
        <translation>측정</translation>
    </message>
    <message>
        <source>not enough memory for attention scores</source>
        <translation>어텐션 점수에 쓸 메모리가 부족합니다</translation>
    </message>
    <message>
        <source>the picture&apos;s keys and values</source>
        <translation>그림의 키와 값</translation>
    </message>
    <message>
        <source>a mask</source>
        <translation>마스크</translation>
    </message>
    <message>
        <source>the vision tower</source>
        <translation>비전 타워</translation>
    </message>
    <message>
        <source>Install llama-cpp-python&gt;=0.3.36,&lt;0.4, the range that was tested.</source>
        <translation>시험한 범위인 llama-cpp-python&gt;=0.3.36,&lt;0.4를 설치하세요.</translation>
    </message>
    <message>
        <source>llama-cpp-python {version} did not offer the nodes {missed} as expected: the picture would be ignored</source>
        <translation>llama-cpp-python {version}이(가) 노드 {missed}을(를) 예상대로 내놓지 않았습니다. 그림이 무시될 것입니다</translation>
    </message>
    <message>
        <source>node l_out-{layer} has an unexpected shape or type</source>
        <translation>노드 l_out-{layer}의 모양이나 형식이 예상과 다릅니다</translation>
    </message>
    <message>
        <source>there is no memory for all pictures at once</source>
        <translation>모든 그림을 한꺼번에 둘 메모리가 없습니다</translation>
    </message>
    <message>
        <source>The file is incomplete: convert the checkpoint again.</source>
        <translation>파일이 불완전합니다. 체크포인트를 다시 변환하세요.</translation>
    </message>
    <message>
        <source>{name}: impossible vision sizes {size}, {patch}, {max_tiles}</source>
        <translation>{name}: 불가능한 비전 크기 {size}, {patch}, {max_tiles}</translation>
    </message>
    <message>
        <source>The file is damaged: convert the checkpoint again.</source>
        <translation>파일이 손상되었습니다. 체크포인트를 다시 변환하세요.</translation>
    </message>
    <message>
        <source>{name}: {layers} vision layers are not in the file</source>
        <translation>{name}: 비전 {layers}층이 파일에 없습니다</translation>
    </message>
    <message>
        <source>{name}: cross layers after {cross_after} of {last} text layers</source>
        <translation>{name}: 텍스트 {last}층 가운데 교차 층의 위치가 {cross_after}입니다</translation>
    </message>
    <message>
        <source>{name}: intermediate layers {intermediate}</source>
        <translation>{name}: 중간 층 {intermediate}</translation>
    </message>
    <message>
        <source>{name}: head counts do not divide evenly</source>
        <translation>{name}: 헤드 수가 나누어떨어지지 않습니다</translation>
    </message>
    <message>
        <source>{name} lacks {n_missing} tensors: {missing}</source>
        <translation>{name}에 텐서 {n_missing}개가 없습니다: {missing}</translation>
    </message>
    <message>
        <source>{name}: {key} is {value}</source>
        <translation>{name}: {key}이(가) {value}입니다</translation>
    </message>
    <message>
        <source>{name}: tensor {tensor} must not be {kind}</source>
        <translation>{name}: 텐서 {tensor}은(는) {kind}이면 안 됩니다</translation>
    </message>
    <message>
        <source>{name}: tensor {tensor} has shape {shape}, expected {size}</source>
        <translation>{name}: 텐서 {tensor}의 모양은 {shape}입니다. {size}이어야 합니다</translation>
    </message>
    <message>
        <source>the projected picture</source>
        <translation>투영된 그림</translation>
    </message>
    <message>
        <source>the cross layers&apos; weights</source>
        <translation>교차 레이어의 가중치</translation>
    </message>
    <message>
        <source>the vision weights</source>
        <translation>비전 가중치</translation>
    </message>
    <message>
        <source>LLAVAO1_LOG=debug says why; a newer llama-cpp-python may know this file.</source>
        <translation>LLAVAO1_LOG=debug로 이유를 볼 수 있습니다. 더 새로운 llama-cpp-python은 이 파일을 알 수도 있습니다.</translation>
    </message>
    <message>
        <source>Give the mmproj file that does.</source>
        <translation>읽을 수 있는 mmproj 파일을 지정하세요.</translation>
    </message>
    <message>
        <source>llama.cpp made something else than a picture of a picture</source>
        <translation>llama.cpp가 그림을 그림이 아닌 것으로 만들었습니다</translation>
    </message>
    <message>
        <source>LLAVAO1_LOG=debug says why.</source>
        <translation>LLAVAO1_LOG=debug로 이유를 볼 수 있습니다.</translation>
    </message>
    <message>
        <source>Start with a larger --context, or with fewer --picture-tokens.</source>
        <translation>더 큰 --context나 더 적은 --picture-tokens로 시작하세요.</translation>
    </message>
    <message>
        <source>{path} reads no pictures</source>
        <translation>{path}은(는) 그림을 읽지 않습니다</translation>
    </message>
    <message>
        <source>the model&apos;s vocabulary lacks a token that stands around its pictures</source>
        <translation>모델의 어휘에 그림을 둘러싸는 토큰이 없습니다</translation>
    </message>
    <message>
        <source>llama.cpp could not read the picture (status {status})</source>
        <translation>llama.cpp가 그림을 읽지 못했습니다(상태 {status})</translation>
    </message>
    <message>
        <source>the picture needs {n_tokens} tokens at once, a batch has {n_batch}</source>
        <translation>그림에는 토큰 {n_tokens}개가 한꺼번에 필요한데 배치는 {n_batch}개입니다</translation>
    </message>
    <message>
        <source>the picture does not fit the context of {n} tokens</source>
        <translation>그림이 토큰 {n}개의 문맥에 들어가지 않습니다</translation>
    </message>
    <message>
        <source>llama.cpp could not decode a picture (status {status})</source>
        <translation>llama.cpp가 그림을 디코딩하지 못했습니다(상태 {status})</translation>
    </message>
    <message>
        <source>llama.cpp cannot read a picture of {width} × {height} pixels (status {status})</source>
        <translation>llama.cpp가 {width} × {height}픽셀 그림을 읽을 수 없습니다(상태 {status})</translation>
    </message>
    <message>
        <source>Start with --batch {n_tokens} or more.</source>
        <translation>--batch {n_tokens} 이상으로 시작하세요.</translation>
    </message>
    <message>
        <source>the question is empty</source>
        <translation>질문이 비어 있습니다</translation>
    </message>
    <message>
        <source>Ask something about the picture.</source>
        <translation>그림에 대해 무엇이든 물어보세요.</translation>
    </message>
    <message>
        <source>Check the terminal&apos;s encoding (UTF-8).</source>
        <translation>터미널의 인코딩(UTF-8)을 확인하세요.</translation>
    </message>
    <message>
        <source>the question is not text: {question}</source>
        <translation>질문이 텍스트가 아닙니다: {question}</translation>
    </message>
    <message>
        <source>chat_format is {name}</source>
        <translation>chat_format이 {name}입니다</translation>
    </message>
    <message>
        <source>Choose one of {formats}.</source>
        <translation>{formats} 중 하나를 고르세요.</translation>
    </message>
    <message>
        <source>{server} cannot be held to {form}: the finished conclusion is checked</source>
        <translation>{server}은(는) {form} 형식을 강제할 수 없어, 완성된 결론을 확인합니다</translation>
    </message>
    <message>
        <source>It must be http://HOST:PORT or https://…</source>
        <translation>http://HOST:PORT 또는 https://…이어야 합니다</translation>
    </message>
    <message>
        <source>the server&apos;s address holds a password</source>
        <translation>서버 주소에 비밀번호가 들어 있습니다</translation>
    </message>
    <message>
        <source>Check it.</source>
        <translation>확인하세요.</translation>
    </message>
    <message>
        <source>Use https://, or a tunnel to this machine: ssh -L 8080:localhost:8080 …</source>
        <translation>https://나 이 컴퓨터로 오는 터널을 쓰세요: ssh -L 8080:localhost:8080 …</translation>
    </message>
    <message>
        <source>Ask again; its log may say why.</source>
        <translation>다시 질문하세요. 서버의 기록에 이유가 있을 수 있습니다.</translation>
    </message>
    <message>
        <source>Check the address: http://HOST:PORT/v1.</source>
        <translation>주소를 확인하세요: http://HOST:PORT/v1.</translation>
    </message>
    <message>
        <source>the server is {text}</source>
        <translation>서버가 {text}입니다</translation>
    </message>
    <message>
        <source>the key in {key} has characters that a key cannot have</source>
        <translation>{key}의 키에 키에 쓸 수 없는 글자가 있습니다</translation>
    </message>
    <message>
        <source>a key would go to {host} readable for everybody on its way</source>
        <translation>키가 누구나 읽을 수 있는 채로 {host}에 전송됩니다</translation>
    </message>
    <message>
        <source>{name} ended the reply early</source>
        <translation>{name}이(가) 응답을 일찍 끝냈습니다</translation>
    </message>
    <message>
        <source>{name} sends {shown}, which is no reply of a chat server</source>
        <translation>{name}이(가) 보낸 {shown}은(는) 대화 서버의 응답이 아닙니다</translation>
    </message>
    <message>
        <source>Put its key into the environment: {key}=…</source>
        <translation>키를 환경 변수에 넣으세요: {key}=…</translation>
    </message>
    <message>
        <source>Check the address and the model&apos;s name.</source>
        <translation>주소와 모델 이름을 확인하세요.</translation>
    </message>
    <message>
        <source>Use a smaller picture.</source>
        <translation>더 작은 그림을 쓰세요.</translation>
    </message>
    <message>
        <source>It is busy: try again later, or with fewer at a time.</source>
        <translation>서버가 바쁩니다. 나중에 다시 시도하거나 한 번에 적게 요청하세요.</translation>
    </message>
    <message>
        <source>Its log may say more.</source>
        <translation>서버의 기록에 더 자세한 내용이 있을 수 있습니다.</translation>
    </message>
    <message>
        <source>Put the key into the environment: {key}=…</source>
        <translation>키를 환경 변수에 넣으세요: {key}=…</translation>
    </message>
    <message>
        <source>Check HTTPS_PROXY and ALL_PROXY.</source>
        <translation>HTTPS_PROXY와 ALL_PROXY를 확인하세요.</translation>
    </message>
    <message>
        <source>the key cannot be sent</source>
        <translation>키를 보낼 수 없습니다</translation>
    </message>
    <message>
        <source>Check {key}.</source>
        <translation>{key}을(를) 확인하세요.</translation>
    </message>
    <message>
        <source>Its certificate is not trusted: SSL_CERT_FILE may name the one that signed it.</source>
        <translation>인증서를 신뢰할 수 없습니다. 서명한 인증서를 SSL_CERT_FILE로 지정할 수 있습니다.</translation>
    </message>
    <message>
        <source>{name} answers {status}: {said}</source>
        <translation>{name}의 응답 {status}: {said}</translation>
    </message>
    <message>
        <source>{name} answers {status}</source>
        <translation>{name}의 응답 {status}</translation>
    </message>
    <message>
        <source>cannot use the proxy: {error}</source>
        <translation>프록시를 쓸 수 없습니다: {error}</translation>
    </message>
    <message>
        <source>Is it running, and is the address right?</source>
        <translation>서버가 실행 중인가요? 주소가 맞나요?</translation>
    </message>
    <message>
        <source>{name} sends an endless reply</source>
        <translation>{name}이(가) 끝없는 응답을 보냅니다</translation>
    </message>
    <message>
        <source>{name} sends an endless line</source>
        <translation>{name}이(가) 끝없는 줄을 보냅니다</translation>
    </message>
    <message>
        <source>It does not react; its log may say why.</source>
        <translation>반응이 없습니다. 서버의 기록에 이유가 있을 수 있습니다.</translation>
    </message>
    <message>
        <source>{name} ended a reply without saying why</source>
        <translation>{name}이(가) 이유 없이 응답을 끝냈습니다</translation>
    </message>
    <message>
        <source>{name} sends an odd choice: {index}</source>
        <translation>{name}이(가) 이상한 선택 번호를 보냅니다: {index}</translation>
    </message>
    <message>
        <source>the server ended a candidate: {reason}</source>
        <translation>서버가 후보를 끝냈습니다: {reason}</translation>
    </message>
    <message>
        <source>Check the address.</source>
        <translation>주소를 확인하세요.</translation>
    </message>
    <message>
        <source>{name} names no model</source>
        <translation>{name}이(가) 모델 이름을 알려 주지 않습니다</translation>
    </message>
    <message>
        <source>{name} has {n_names} models: {names}</source>
        <translation>{name}에 모델이 {n_names}개 있습니다: {names}</translation>
    </message>
    <message>
        <source>{name} has no model {model}</source>
        <translation>{name}에 모델 {model}이(가) 없습니다</translation>
    </message>
    <message>
        <source>Choose one with {option} NAME.</source>
        <translation>{option} NAME으로 하나를 고르세요.</translation>
    </message>
    <message>
        <source>It has {names}.</source>
        <translation>있는 모델: {names}.</translation>
    </message>
    <message>
        <source>{name} cannot go on in an answer</source>
        <translation>{name}은(는) 답을 이어 쓸 수 없습니다</translation>
    </message>
    <message>
        <source>{name} sends a reply without a choice</source>
        <translation>{name}이(가) 선택이 없는 응답을 보냅니다</translation>
    </message>
    <message>
        <source>It may be of another version.</source>
        <translation>버전이 다를 수 있습니다.</translation>
    </message>
    <message>
        <source>{name} sends an odd trace ({kind}: {error})</source>
        <translation>{name}이(가) 이상한 추적 기록을 보냅니다({kind}: {error})</translation>
    </message>
    <message>
        <source>went back to the {name}: second-best reasoning {score:.3f}, not above {threshold:g}</source>
        <translation>{name}(으)로 돌아갔습니다. 두 번째로 좋은 추론이 {score:.3f}(으)로 {threshold:g}을(를) 넘지 못했습니다</translation>
    </message>
    <message>
        <source>token budget of {n_tokens}</source>
        <translation>토큰 예산 {n_tokens}개</translation>
    </message>
    <message>
        <source>time budget of {s:g} s</source>
        <translation>시간 예산 {s:g}초</translation>
    </message>
    <message>
        <source>the strategy is {name}</source>
        <translation>전략이 {name}입니다</translation>
    </message>
    <message>
        <source>scorer is {scorer}</source>
        <translation>채점기가 {scorer}입니다</translation>
    </message>
    <message>
        <source>Choose one of {kinds}.</source>
        <translation>{kinds} 중 하나를 고르세요.</translation>
    </message>
    <message>
        <source>the strategy {name} has no option {option}</source>
        <translation>전략 {name}에는 옵션 {option}이(가) 없습니다</translation>
    </message>
    <message>
        <source>Choose one of {scorers}.</source>
        <translation>{scorers} 중 하나를 고르세요.</translation>
    </message>
    <message>
        <source>Leave it out, or choose {able}.</source>
        <translation>빼거나 {able}을(를) 고르세요.</translation>
    </message>
    <message>
        <source>It must be a whole number.</source>
        <translation>정수여야 합니다.</translation>
    </message>
    <message>
        <source>It must be a number.</source>
        <translation>숫자여야 합니다.</translation>
    </message>
    <message>
        <source>It must be text.</source>
        <translation>텍스트여야 합니다.</translation>
    </message>
    <message>
        <source>It must be between {low:.10g} and {high:.10g}.</source>
        <translation>{low:.10g} 이상 {high:.10g} 이하여야 합니다.</translation>
    </message>
    <message>
        <source>It must be at most {high:.10g}.</source>
        <translation>{high:.10g} 이하여야 합니다.</translation>
    </message>
    <message>
        <source>It must be at least {low:.10g}.</source>
        <translation>{low:.10g} 이상이어야 합니다.</translation>
    </message>
    <message>
        <source>It must be HOST:PORT.</source>
        <translation>HOST:PORT여야 합니다.</translation>
    </message>
    <message>
        <source>{name} is {value}</source>
        <translation>{name}이(가) {value}입니다</translation>
    </message>
    <message>
        <source>It must be 0 or at least 0.01.</source>
        <translation>0이거나 0.01 이상이어야 합니다.</translation>
    </message>
    <message>
        <source>It must be HOST:PORT,HOST:PORT,….</source>
        <translation>HOST:PORT,HOST:PORT,… 형식이어야 합니다.</translation>
    </message>
    <message>
        <source>It must be the path of a GGUF file.</source>
        <translation>GGUF 파일의 경로여야 합니다.</translation>
    </message>
    <message>
        <source>Leave one of the two out.</source>
        <translation>둘 중 하나를 빼세요.</translation>
    </message>
    <message>
        <source>rpc is {text}</source>
        <translation>rpc가 {text}입니다</translation>
    </message>
    <message>
        <source>temperature is {temperature}</source>
        <translation>temperature가 {temperature}입니다</translation>
    </message>
    <message>
        <source>rpc is {rpc}</source>
        <translation>rpc가 {rpc}입니다</translation>
    </message>
    <message>
        <source>draft is {draft}</source>
        <translation>draft가 {draft}입니다</translation>
    </message>
    <message>
        <source>{gpu_layers} layers cannot be on a GPU with the device cpu</source>
        <translation>장치가 cpu이면 {gpu_layers}층을 GPU에 둘 수 없습니다</translation>
    </message>
    <message>
        <source>{name} is {text}</source>
        <translation>{name}이(가) {text}입니다</translation>
    </message>
    <message>
        <source>Choose one of {choices}.</source>
        <translation>{choices} 중 하나를 고르세요.</translation>
    </message>
    <message>
        <source>Give at least two different ones, for example A,B,C,D.</source>
        <translation>서로 다른 것을 둘 이상 주세요. 예: A,B,C,D.</translation>
    </message>
    <message>
        <source>Leave out &lt; and line breaks.</source>
        <translation>&lt;와 줄바꿈을 빼세요.</translation>
    </message>
    <message>
        <source>the choices are {choices}</source>
        <translation>선택지가 {choices}입니다</translation>
    </message>
    <message>
        <source>the choice {odd} has a character that a choice cannot have</source>
        <translation>선택지 {odd}에 쓸 수 없는 글자가 있습니다</translation>
    </message>
    <message>
        <source>the answer is {kind}</source>
        <translation>답이 {kind}입니다</translation>
    </message>
    <message>
        <source>{name} has both a grammar and a schema</source>
        <translation>{name}에 문법과 스키마가 둘 다 있습니다</translation>
    </message>
    <message>
        <source>{name} has neither a grammar nor a schema</source>
        <translation>{name}에 문법도 스키마도 없습니다</translation>
    </message>
    <message>
        <source>It must be GBNF, the grammar notation of llama.cpp.</source>
        <translation>llama.cpp의 문법 표기인 GBNF여야 합니다.</translation>
    </message>
    <message>
        <source>Write repetitions as {2,5}, not as groups in groups.</source>
        <translation>반복은 묶음 속의 묶음이 아니라 {2,5}처럼 쓰세요.</translation>
    </message>
    <message>
        <source>{name} is missing</source>
        <translation>{name}이(가) 없습니다</translation>
    </message>
    <message>
        <source>{name} was not closed</source>
        <translation>{name}이(가) 닫히지 않았습니다</translation>
    </message>
    <message>
        <source>odd tag {tag}</source>
        <translation>이상한 태그 {tag}</translation>
    </message>
    <message>
        <source>{name} stands twice</source>
        <translation>{name}이(가) 두 번 있습니다</translation>
    </message>
    <message>
        <source>{name} was closed but not open</source>
        <translation>{name}이(가) 열리지 않았는데 닫혔습니다</translation>
    </message>
    <message>
        <source>answer</source>
        <translation>답</translation>
    </message>
    <message>
        <source>There are: {names}. `llavao1-edge models pull` fetches others.</source>
        <translation>있는 모델: {names}. `llavao1-edge models pull`로 다른 모델을 가져올 수 있습니다.</translation>
    </message>
    <message>
        <source>Letters, digits, dots, dashes and underlines, beginning with a letter or digit.</source>
        <translation>글자나 숫자로 시작하고 글자, 숫자, 점, 줄표, 밑줄만 쓸 수 있습니다.</translation>
    </message>
    <message>
        <source>there is no model {name}</source>
        <translation>모델 {name}이(가) 없습니다</translation>
    </message>
    <message>
        <source>{name} cannot be the name of a model</source>
        <translation>{name}은(는) 모델 이름이 될 수 없습니다</translation>
    </message>
    <message>
        <source>Give more of the name.</source>
        <translation>이름을 더 길게 쓰세요.</translation>
    </message>
    <message>
        <source>not enough space in {blobs}: {size:.2f} GB needed</source>
        <translation>{blobs}의 공간이 부족합니다: {size:.2f} GB 필요</translation>
    </message>
    <message>
        <source>cannot use the model store {root}: {reason}</source>
        <translation>모델 저장소 {root}을(를) 쓸 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>{name} could be {names}</source>
        <translation>{name}은(는) {names} 중 어느 것인지 알 수 없습니다</translation>
    </message>
    <message>
        <source>{name}: {path} has {n_bytes} of {wanted} bytes</source>
        <translation>{name}: {path}이(가) {wanted}바이트 중 {n_bytes}바이트입니다</translation>
    </message>
    <message>
        <source>there is another model named {name} already</source>
        <translation>{name}(이)라는 다른 모델이 이미 있습니다</translation>
    </message>
    <message>
        <source>Free some space, or set {environment} to a folder on another disk.</source>
        <translation>공간을 비우거나 {environment}을(를) 다른 디스크의 폴더로 지정하세요.</translation>
    </message>
    <message>
        <source>page {page} of {name} cannot be drawn</source>
        <translation>{name}의 {page}페이지를 그릴 수 없습니다</translation>
    </message>
    <message>
        <source>{name} has no page {page} any more</source>
        <translation>{name}에 {page}페이지가 더는 없습니다</translation>
    </message>
    <message>
        <source>Did you mean {name}?</source>
        <translation>{name}을(를) 찾으셨나요?</translation>
    </message>
    <message>
        <source>{path} is damaged: its sha256 is not its name</source>
        <translation>{path}이(가) 손상되었습니다: sha256이 이름과 다릅니다</translation>
    </message>
    <message>
        <source>Check it, or set {environment} to another folder.</source>
        <translation>확인하거나 {environment}을(를) 다른 폴더로 지정하세요.</translation>
    </message>
    <message>
        <source>`llavao1-edge models remove {name}`, then pull it again.</source>
        <translation>`llavao1-edge models remove {name}` 후 다시 내려받으세요.</translation>
    </message>
    <message>
        <source>Give --name, or remove it: llavao1-edge models remove {name}</source>
        <translation>--name을 지정하거나 지우세요: llavao1-edge models remove {name}</translation>
    </message>
    <message>
        <source>stopped while a file was taken into the store</source>
        <translation>파일을 저장소에 넣는 중에 중지되었습니다</translation>
    </message>
    <message>
        <source>Remove {name} and pull it again.</source>
        <translation>{name}을(를) 지우고 다시 내려받으세요.</translation>
    </message>
    <message>
        <source>stopped while waiting for another process</source>
        <translation>다른 프로세스를 기다리는 중에 중지되었습니다</translation>
    </message>
    <message>
        <source>Set HTTPS_PROXY to http://NAME:PASSWORD@HOST:PORT, or ask whoever runs it.</source>
        <translation>HTTPS_PROXY를 http://NAME:PASSWORD@HOST:PORT로 지정하거나 관리자에게 문의하세요.</translation>
    </message>
    <message>
        <source>Check the name; for a private repository set HF_TOKEN.</source>
        <translation>이름을 확인하세요. 비공개 저장소라면 HF_TOKEN을 지정하세요.</translation>
    </message>
    <message>
        <source>Open any page in a browser: the network may want a login first. Behind a company&apos;s proxy, set HTTPS_PROXY.</source>
        <translation>브라우저에서 아무 페이지나 열어 보세요. 네트워크가 먼저 로그인을 요구할 수 있습니다. 회사 프록시 뒤라면 HTTPS_PROXY를 지정하세요.</translation>
    </message>
    <message>
        <source>A proxy or a virus scanner may read the connection: put its certificate into the system&apos;s store or into the file that SSL_CERT_FILE names. Check the clock, too.</source>
        <translation>프록시나 백신 프로그램이 연결을 읽고 있을 수 있습니다. 그 인증서를 시스템 저장소나 SSL_CERT_FILE이 가리키는 파일에 넣으세요. 시계도 확인하세요.</translation>
    </message>
    <message>
        <source>Check HF_TOKEN: it is letters and digits.</source>
        <translation>HF_TOKEN을 확인하세요. 글자와 숫자로만 되어 있습니다.</translation>
    </message>
    <message>
        <source>Check HF_ENDPOINT.</source>
        <translation>HF_ENDPOINT를 확인하세요.</translation>
    </message>
    <message>
        <source>the proxy refused the connection ({said})</source>
        <translation>프록시가 연결을 거부했습니다({said})</translation>
    </message>
    <message>
        <source>{name} of {what}</source>
        <translation>{what}의 {name}</translation>
    </message>
    <message>
        <source>It is wrong, or was revoked: make a new one on the hub&apos;s page and set HF_TOKEN, or unset it and log out.</source>
        <translation>틀렸거나 취소된 토큰입니다. 허브 페이지에서 새로 만들어 HF_TOKEN에 넣거나, 비우고 로그아웃하세요.</translation>
    </message>
    <message>
        <source>Access may still be pending, or your token lacks the right to read it.</source>
        <translation>접근 승인이 아직이거나 토큰에 읽기 권한이 없을 수 있습니다.</translation>
    </message>
    <message>
        <source>cannot fetch {what}: the server answered {said}</source>
        <translation>{what}을(를) 가져올 수 없습니다: 서버의 응답 {said}</translation>
    </message>
    <message>
        <source>{host} sent a web page in place of {what}</source>
        <translation>{host}이(가) {what} 대신 웹 페이지를 보냈습니다</translation>
    </message>
    <message>
        <source>Check HF_TOKEN.</source>
        <translation>HF_TOKEN을 확인하세요.</translation>
    </message>
    <message>
        <source>Check HF_ENDPOINT, HTTPS_PROXY and ALL_PROXY.</source>
        <translation>HF_ENDPOINT, HTTPS_PROXY, ALL_PROXY를 확인하세요.</translation>
    </message>
    <message>
        <source>the certificate of the server for {what} is not trusted ({text})</source>
        <translation>{what} 서버의 인증서를 신뢰할 수 없습니다({text})</translation>
    </message>
    <message>
        <source>cannot ask for {what}: a header holds characters that none may have</source>
        <translation>{what}을(를) 요청할 수 없습니다: 헤더에 쓸 수 없는 글자가 있습니다</translation>
    </message>
    <message>
        <source>cannot ask for {what}: {text}</source>
        <translation>{what}을(를) 요청할 수 없습니다: {text}</translation>
    </message>
    <message>
        <source>Try again then; with a token (HF_TOKEN) the hub&apos;s limit is higher.</source>
        <translation>그때 다시 시도하세요. 토큰(HF_TOKEN)이 있으면 허브의 한도가 더 큽니다.</translation>
    </message>
    <message>
        <source>the server answered {code}</source>
        <translation>서버의 응답 {code}</translation>
    </message>
    <message>
        <source>your token was refused for {what} ({said})</source>
        <translation>{what}에 대해 토큰이 거부되었습니다({said})</translation>
    </message>
    <message>
        <source>{what} is given out only to those who accepted its licence</source>
        <translation>{what}은(는) 라이선스에 동의한 사람만 받을 수 있습니다</translation>
    </message>
    <message>
        <source>Accept it on the hub&apos;s page, then set HF_TOKEN to your token.</source>
        <translation>허브 페이지에서 동의한 다음 HF_TOKEN에 토큰을 넣으세요.</translation>
    </message>
    <message>
        <source>{what} has no such revision</source>
        <translation>{what}에 그런 리비전이 없습니다</translation>
    </message>
    <message>
        <source>Check it on the hub.</source>
        <translation>허브에서 확인하세요.</translation>
    </message>
    <message>
        <source>{what} has no file {name}</source>
        <translation>{what}에 파일 {name}이(가) 없습니다</translation>
    </message>
    <message>
        <source>there is no repository {what}, or it is private</source>
        <translation>저장소 {what}이(가) 없거나 비공개입니다</translation>
    </message>
    <message>
        <source>Check the name; for a private one set HF_TOKEN.</source>
        <translation>이름을 확인하세요. 비공개라면 HF_TOKEN을 지정하세요.</translation>
    </message>
    <message>
        <source>the server does not give out {what} ({said})</source>
        <translation>서버가 {what}을(를) 내주지 않습니다({said})</translation>
    </message>
    <message>
        <source>cannot ask for {what}: the token is not plain text</source>
        <translation>{what}을(를) 요청할 수 없습니다: 토큰이 일반 텍스트가 아닙니다</translation>
    </message>
    <message>
        <source>cannot ask for {what}: {error}</source>
        <translation>{what}을(를) 요청할 수 없습니다: {error}</translation>
    </message>
    <message>
        <source>the server has had too many requests and asks to wait {pause:.0f} s</source>
        <translation>서버가 요청이 너무 많다며 {pause:.0f}초 기다리라고 합니다</translation>
    </message>
    <message>
        <source>cannot read the certificates in {path}: {error}</source>
        <translation>{path}의 인증서를 읽을 수 없습니다: {error}</translation>
    </message>
    <message>
        <source>Check {trust}.</source>
        <translation>{trust}을(를) 확인하세요.</translation>
    </message>
    <message>
        <source>the download was stopped; what has come is kept</source>
        <translation>내려받기가 중지되었습니다. 받은 부분은 남아 있습니다</translation>
    </message>
    <message>
        <source>Check the network and try again; what has come so far is kept.</source>
        <translation>네트워크를 확인하고 다시 시도하세요. 지금까지 받은 부분은 남아 있습니다.</translation>
    </message>
    <message>
        <source>cannot fetch {name}: {problem}</source>
        <translation>{name}을(를) 가져올 수 없습니다: {problem}</translation>
    </message>
    <message>
        <source>nothing came</source>
        <translation>아무것도 오지 않았습니다</translation>
    </message>
    <message>
        <source>the connection to the hub failed ({problem})</source>
        <translation>허브와의 연결이 실패했습니다({problem})</translation>
    </message>
    <message>
        <source>Free some space; what has come so far is kept.</source>
        <translation>공간을 비우세요. 지금까지 받은 부분은 남아 있습니다.</translation>
    </message>
    <message>
        <source>Try again later, or over another connection.</source>
        <translation>나중에, 또는 다른 연결로 다시 시도하세요.</translation>
    </message>
    <message>
        <source>the connection ended early</source>
        <translation>연결이 일찍 끊겼습니다</translation>
    </message>
    <message>
        <source>cannot write {name}: {reason}</source>
        <translation>{name}을(를) 쓸 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>{came} of {n} bytes came</source>
        <translation>{n}바이트 중 {came}바이트가 왔습니다</translation>
    </message>
    <message>
        <source>Try again later.</source>
        <translation>나중에 다시 시도하세요.</translation>
    </message>
    <message>
        <source>{name} came damaged twice: {problem}</source>
        <translation>{name}이(가) 두 번 손상된 채로 왔습니다: {problem}</translation>
    </message>
    <message>
        <source>the server sends more than the {n_bytes} bytes of {name}</source>
        <translation>서버가 {name}의 {n_bytes}바이트보다 많이 보냅니다</translation>
    </message>
    <message>
        <source>the answer about {what} is too long</source>
        <translation>{what}에 대한 응답이 너무 깁니다</translation>
    </message>
    <message>
        <source>For example: Xkev/Llama-3.2V-11B-cot</source>
        <translation>예: Xkev/Llama-3.2V-11B-cot</translation>
    </message>
    <message>
        <source>Unset it to use the network.</source>
        <translation>네트워크를 쓰려면 이 설정을 해제하세요.</translation>
    </message>
    <message>
        <source>Unset it once to fetch the model.</source>
        <translation>모델을 가져오려면 한 번 해제하세요.</translation>
    </message>
    <message>
        <source>Open the file again.</source>
        <translation>파일을 다시 여세요.</translation>
    </message>
    <message>
        <source>{name} has changed since it was opened</source>
        <translation>{name}이(가) 연 뒤에 바뀌었습니다</translation>
    </message>
    <message>
        <source>Save it as a picture in another program.</source>
        <translation>다른 프로그램에서 그림으로 저장하세요.</translation>
    </message>
    <message>
        <source>Open it in another program and save the page as a picture.</source>
        <translation>다른 프로그램에서 열어 그 페이지를 그림으로 저장하세요.</translation>
    </message>
    <message>
        <source>{name} is locked with a password</source>
        <translation>{name}은(는) 비밀번호로 잠겨 있습니다</translation>
    </message>
    <message>
        <source>page {page} of {name} takes too long to draw</source>
        <translation>{name}의 {page}페이지를 그리는 데 너무 오래 걸립니다</translation>
    </message>
    <message>
        <source>{name} cannot be read: {reason}</source>
        <translation>{name}을(를) 읽을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>Use a smaller model of the same family, such as Llama 3.2 1B for LLaVA-o1.</source>
        <translation>같은 계열의 더 작은 모델을 사용하세요. LLaVA-o1에는 Llama 3.2 1B 같은 모델이 맞습니다.</translation>
    </message>
    <message>
        <source>Point at a .gguf file that `llavao1-edge convert` wrote.</source>
        <translation>`llavao1-edge convert`가 만든 .gguf 파일을 지정하세요.</translation>
    </message>
    <message>
        <source>Merge it with peft: model.merge_and_unload(), then save_pretrained, and convert that.</source>
        <translation>peft로 합치세요: model.merge_and_unload() 다음 save_pretrained, 그리고 그것을 변환하세요.</translation>
    </message>
    <message>
        <source>Make it with llama-imatrix from a text file of this model (F16 or Q8_0).</source>
        <translation>이 모델의 텍스트 파일(F16 또는 Q8_0)로 llama-imatrix를 써서 만드세요.</translation>
    </message>
    <message>
        <source>Fetch the source again: it is damaged or incomplete.</source>
        <translation>원본을 다시 가져오세요. 손상되었거나 불완전합니다.</translation>
    </message>
    <message>
        <source>Give a checkpoint folder, a repository (owner/name), an old .gguf file, or ollama:NAME.</source>
        <translation>체크포인트 폴더, 저장소(owner/name), 옛 .gguf 파일, ollama:NAME 중 하나를 지정하세요.</translation>
    </message>
    <message>
        <source>Only byte-level BPE with the GPT-2 or Llama-3 split is supported.</source>
        <translation>GPT-2나 Llama-3 분할의 바이트 수준 BPE만 지원합니다.</translation>
    </message>
    <message>
        <source>Check the repository.</source>
        <translation>저장소를 확인하세요.</translation>
    </message>
    <message>
        <source>Choose --strategy best-of-n, staged, direct or free (in the window: Fast).</source>
        <translation>--strategy best-of-n, staged, direct, free 가운데 하나를 고르세요(창에서는 빠르게).</translation>
    </message>
    <message>
        <source>{text} is not the name of a repository</source>
        <translation>{text}은(는) 저장소 이름이 아닙니다</translation>
    </message>
    <message>
        <source>{name} was not asked: HF_HUB_OFFLINE is set</source>
        <translation>{name}에 요청하지 않았습니다: HF_HUB_OFFLINE이 설정되어 있습니다</translation>
    </message>
    <message>
        <source>{text} is not in the hub&apos;s cache, and HF_HUB_OFFLINE is set</source>
        <translation>{text}이(가) 허브 캐시에 없고 HF_HUB_OFFLINE이 설정되어 있습니다</translation>
    </message>
    <message>
        <source>{name} has no file {file}</source>
        <translation>{name}에 파일 {file}이(가) 없습니다</translation>
    </message>
    <message>
        <source>Say which one with --quant.</source>
        <translation>--quant로 어느 것인지 지정하세요.</translation>
    </message>
    <message>
        <source>docs/models.md lists models that run here; LLaVA-o1 is Xkev/Llama-3.2V-11B-cot.</source>
        <translation>docs/models.md에 여기서 실행되는 모델이 있습니다. LLaVA-o1은 Xkev/Llama-3.2V-11B-cot입니다.</translation>
    </message>
    <message>
        <source>A text model alone cannot see. Files in parts (-00001-of-…) are not taken.</source>
        <translation>텍스트 모델만으로는 볼 수 없습니다. 나뉜 파일(-00001-of-…)은 받지 않습니다.</translation>
    </message>
    <message>
        <source>{name} holds neither a pair of GGUF files nor safetensors</source>
        <translation>{name}에 GGUF 파일 쌍도 safetensors도 없습니다</translation>
    </message>
    <message>
        <source>{repo} holds {held}, none of {quant}</source>
        <translation>{repo}에 {held}이(가) 있고 {quant}은(는) 없습니다</translation>
    </message>
    <message>
        <source>{repo} holds {held}</source>
        <translation>{repo}에 {held}이(가) 있습니다</translation>
    </message>
    <message>
        <source>not enough space in {root}: {needed:.2f} GB needed, {free:.2f} GB free</source>
        <translation>{root}의 공간이 부족합니다: {needed:.2f} GB 필요, {free:.2f} GB 남음</translation>
    </message>
    <message>
        <source>{name} holds GGUF files, but no mmproj file that fits one of them</source>
        <translation>{name}에 GGUF 파일이 있지만 그에 맞는 mmproj 파일이 없습니다</translation>
    </message>
    <message>
        <source>Convert the base that it was trained on: {base}.</source>
        <translation>학습에 쓴 기본 모델을 변환하세요: {base}.</translation>
    </message>
    <message>
        <source>Give the adapter&apos;s folder (adapter_config.json, adapter_model.safetensors).</source>
        <translation>어댑터 폴더를 지정하세요(adapter_config.json, adapter_model.safetensors).</translation>
    </message>
    <message>
        <source>Give the folder that peft&apos;s save_pretrained wrote.</source>
        <translation>peft의 save_pretrained가 만든 폴더를 지정하세요.</translation>
    </message>
    <message>
        <source>Save the adapter again with safe_serialization=True.</source>
        <translation>safe_serialization=True로 어댑터를 다시 저장하세요.</translation>
    </message>
    <message>
        <source>Download the whole adapter folder again.</source>
        <translation>어댑터 폴더 전체를 다시 내려받으세요.</translation>
    </message>
    <message>
        <source>Download the adapter again.</source>
        <translation>어댑터를 다시 내려받으세요.</translation>
    </message>
    <message>
        <source>the adapter {name} does not fit: {tensor} is for {ours}, the base has {theirs}</source>
        <translation>어댑터 {name}이(가) 맞지 않습니다: {tensor}은(는) {ours}용인데 기본 모델은 {theirs}입니다</translation>
    </message>
    <message>
        <source>Merge it with peft, on the base as it was changed, or save the adapter with path_initial_model_for_weight_conversion.</source>
        <translation>바뀐 기본 모델에서 peft로 합치거나, path_initial_model_for_weight_conversion으로 어댑터를 저장하세요.</translation>
    </message>
    <message>
        <source>Convert the base that it was trained on.</source>
        <translation>학습에 쓴 기본 모델을 변환하세요.</translation>
    </message>
    <message>
        <source>{folder} is not a folder</source>
        <translation>{folder}은(는) 폴더가 아닙니다</translation>
    </message>
    <message>
        <source>{folder} holds no {config}</source>
        <translation>{folder}에 {config}이(가) 없습니다</translation>
    </message>
    <message>
        <source>{weights} changes nothing</source>
        <translation>{weights}은(는) 아무것도 바꾸지 않습니다</translation>
    </message>
    <message>
        <source>the adapter {name} changes {tensor}, which the base does not have</source>
        <translation>어댑터 {name}이(가) 기본 모델에 없는 {tensor}을(를) 바꿉니다</translation>
    </message>
    <message>
        <source>{path}: peft_type is {method}, not LORA</source>
        <translation>{path}: peft_type이 LORA가 아니라 {method}입니다</translation>
    </message>
    <message>
        <source>{path}: init_lora_weights is {start}, which changed the base&apos;s weights too</source>
        <translation>{path}: init_lora_weights가 {start}이며, 기본 모델의 가중치도 바꾸었습니다</translation>
    </message>
    <message>
        <source>{path}: {key} is {value}</source>
        <translation>{path}: {key}이(가) {value}입니다</translation>
    </message>
    <message>
        <source>adapter_config.json and adapter_model.safetensors do not belong together.</source>
        <translation>adapter_config.json과 adapter_model.safetensors가 서로 맞지 않습니다.</translation>
    </message>
    <message>
        <source>{folder} holds a pickle file only ({pickle}); loading it can run code</source>
        <translation>{folder}에 pickle 파일({pickle})만 있습니다. 불러오면 코드가 실행될 수 있습니다</translation>
    </message>
    <message>
        <source>{folder} holds no {weights}</source>
        <translation>{folder}에 {weights}이(가) 없습니다</translation>
    </message>
    <message>
        <source>{path}: {key} is set: {reason}</source>
        <translation>{path}: {key}이(가) 설정되어 있습니다: {reason}</translation>
    </message>
    <message>
        <source>{path}: {module} has rank {rank}, the config says {told}</source>
        <translation>{path}: {module}의 rank가 {rank}인데 설정에는 {told}(으)로 되어 있습니다</translation>
    </message>
    <message>
        <source>{name}: {tensor} has no other half</source>
        <translation>{name}: {tensor}의 나머지 절반이 없습니다</translation>
    </message>
    <message>
        <source>{name}: {module} has halves of shapes {shape} and {other}</source>
        <translation>{name}: {module} 두 절반의 모양이 {shape}과(와) {other}입니다</translation>
    </message>
    <message>
        <source>{name}: {tensor} is neither lora_A nor lora_B</source>
        <translation>{name}: {tensor}은(는) lora_A도 lora_B도 아닙니다</translation>
    </message>
    <message>
        <source>Give the folder of a downloaded checkpoint (config.json, *.safetensors).</source>
        <translation>내려받은 체크포인트의 폴더를 지정하세요(config.json, *.safetensors).</translation>
    </message>
    <message>
        <source>Convert the original 16-bit checkpoint, not a quantised copy.</source>
        <translation>양자화된 사본이 아니라 원래의 16비트 체크포인트를 변환하세요.</translation>
    </message>
    <message>
        <source>Its text would become part of the model: put the file itself there.</source>
        <translation>그 텍스트가 모델의 일부가 됩니다. 파일 자체를 그 자리에 두세요.</translation>
    </message>
    <message>
        <source>{path} holds no JSON object</source>
        <translation>{path}에 JSON 객체가 없습니다</translation>
    </message>
    <message>
        <source>{name}: damaged header</source>
        <translation>{name}: 헤더가 손상되었습니다</translation>
    </message>
    <message>
        <source>{name}: tensor {tensor} has type {dtype}, supported are {dtypes}</source>
        <translation>{name}: 텐서 {tensor}의 형식은 {dtype}입니다. 지원: {dtypes}</translation>
    </message>
    <message>
        <source>{name}: tensor {tensor} is cut off or damaged</source>
        <translation>{name}: 텐서 {tensor}이(가) 잘렸거나 손상되었습니다</translation>
    </message>
    <message>
        <source>{folder}: {name} is missing</source>
        <translation>{folder}: {name}이(가) 없습니다</translation>
    </message>
    <message>
        <source>{path} is a link out of the folder</source>
        <translation>{path}은(는) 폴더 밖을 가리키는 링크입니다</translation>
    </message>
    <message>
        <source>{name}: tensor {tensor} stands twice</source>
        <translation>{name}: 텐서 {tensor}이(가) 두 번 있습니다</translation>
    </message>
    <message>
        <source>{path} is larger than {most} MB</source>
        <translation>{path}이(가) {most} MB보다 큽니다</translation>
    </message>
    <message>
        <source>{path} is not valid JSON: {error}</source>
        <translation>{path}은(는) 올바른 JSON이 아닙니다: {error}</translation>
    </message>
    <message>
        <source>{name}: damaged header: {error}</source>
        <translation>{name}: 헤더가 손상되었습니다: {error}</translation>
    </message>
    <message>
        <source>{name}: tensor {tensor} is damaged</source>
        <translation>{name}: 텐서 {tensor}이(가) 손상되었습니다</translation>
    </message>
    <message>
        <source>{name}: damaged header ({n} bytes)</source>
        <translation>{name}: 헤더가 손상되었습니다({n}바이트)</translation>
    </message>
    <message>
        <source>Free some space, choose another folder with --out, or a smaller quantisation.</source>
        <translation>공간을 비우거나, --out으로 다른 폴더를 고르거나, 더 작은 양자화를 고르세요.</translation>
    </message>
    <message>
        <source>not enough space in {out}: {needed} needed, {free} free</source>
        <translation>{out}의 공간이 부족합니다: {needed} 필요, {free} 남음</translation>
    </message>
    <message>
        <source>Convert again when nothing writes to it any more.</source>
        <translation>아무것도 그 파일에 쓰지 않을 때 다시 변환하세요.</translation>
    </message>
    <message>
        <source>Choose another folder with --out.</source>
        <translation>--out으로 다른 폴더를 고르세요.</translation>
    </message>
    <message>
        <source>{name} was changed while it was converted</source>
        <translation>{name}이(가) 변환 중에 바뀌었습니다</translation>
    </message>
    <message>
        <source>Choose another --out or --name.</source>
        <translation>다른 --out이나 --name을 고르세요.</translation>
    </message>
    <message>
        <source>Choose another --name or --out, or write over it with --overwrite.</source>
        <translation>다른 --name이나 --out을 고르거나, --overwrite로 덮어쓰세요.</translation>
    </message>
    <message>
        <source>cannot write to {out}: {reason}</source>
        <translation>{out}에 쓸 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>{path} is there already</source>
        <translation>{path}이(가) 이미 있습니다</translation>
    </message>
    <message>
        <source>{path} is the source itself</source>
        <translation>{path}은(는) 변환할 원본 자체입니다</translation>
    </message>
    <message>
        <source>{path} exists and is not a file</source>
        <translation>{path}이(가) 있으며 파일이 아닙니다</translation>
    </message>
    <message>
        <source>Convert the original checkpoint: MLX stores weights in another way.</source>
        <translation>원래 체크포인트를 변환하세요. MLX는 가중치를 다르게 저장합니다.</translation>
    </message>
    <message>
        <source>Get the safetensors version, or save it again with safe_serialization=True.</source>
        <translation>safetensors 버전을 구하거나 safe_serialization=True로 다시 저장하세요.</translation>
    </message>
    <message>
        <source>{folder} holds neither {single} nor {index}</source>
        <translation>{folder}에 {single}도 {index}도 없습니다</translation>
    </message>
    <message>
        <source>{folder} holds a LoRA adapter{of} ({found}), which is not part of the base&apos;s weights</source>
        <translation>{folder}에 기본 가중치에 속하지 않는 LoRA 어댑터{of}({found})가 있습니다</translation>
    </message>
    <message>
        <source>Fetch them with `git lfs pull`, or use `llavao1-edge models pull OWNER/NAME`.</source>
        <translation>`git lfs pull`로 가져오거나 `llavao1-edge models pull OWNER/NAME`을 쓰세요.</translation>
    </message>
    <message>
        <source>Use `llavao1-edge models pull OWNER/NAME`, or download it again.</source>
        <translation>`llavao1-edge models pull OWNER/NAME`을 쓰거나 다시 내려받으세요.</translation>
    </message>
    <message>
        <source>Do not convert this checkpoint unless you trust where it came from.</source>
        <translation>출처를 믿을 수 없다면 이 체크포인트를 변환하지 마세요.</translation>
    </message>
    <message>
        <source>{folder} is a checkpoint for MLX</source>
        <translation>{folder}은(는) MLX용 체크포인트입니다</translation>
    </message>
    <message>
        <source>{folder} holds pickle files only ({pickles}); loading them can run code</source>
        <translation>{folder}에 pickle 파일({pickles})만 있습니다. 불러오면 코드가 실행될 수 있습니다</translation>
    </message>
    <message>
        <source>{folder} holds no weights</source>
        <translation>{folder}에 가중치가 없습니다</translation>
    </message>
    <message>
        <source>Convert the base with it: llavao1-edge convert {base} --adapter {folder}. To convert the base alone, move the adapter&apos;s files away.</source>
        <translation>기본 모델과 함께 변환하세요: llavao1-edge convert {base} --adapter {folder}. 기본 모델만 변환하려면 어댑터 파일을 옮기세요.</translation>
    </message>
    <message>
        <source>Save base and adapter apart and use convert BASE --adapter FOLDER, or merge with peft: model.merge_and_unload(), then save_pretrained.</source>
        <translation>기본 모델과 어댑터를 따로 저장해 convert BASE --adapter FOLDER를 쓰거나, peft로 합치세요: model.merge_and_unload() 다음 save_pretrained.</translation>
    </message>
    <message>
        <source>{name} is a Git LFS pointer: the weights themselves are not here</source>
        <translation>{name}은(는) Git LFS 포인터입니다. 가중치 자체는 여기에 없습니다</translation>
    </message>
    <message>
        <source>{name} is a web page, not weights: the download needed a login, or failed</source>
        <translation>{name}은(는) 가중치가 아니라 웹 페이지입니다. 로그인이 필요했거나 내려받기가 실패했습니다</translation>
    </message>
    <message>
        <source>{folder}: shard name {name} leads out of the folder</source>
        <translation>{folder}: 샤드 이름 {name}이(가) 폴더 밖을 가리킵니다</translation>
    </message>
    <message>
        <source>{folder}: shard {name} is missing</source>
        <translation>{folder}: 샤드 {name}이(가) 없습니다</translation>
    </message>
    <message>
        <source>{index} has no weight_map</source>
        <translation>{index}에 weight_map이 없습니다</translation>
    </message>
    <message>
        <source>{folder} has no {index}, and shard {missing} of {n} is missing</source>
        <translation>{folder}에 {index}이(가) 없고, {n}개 중 샤드 {missing}이(가) 없습니다</translation>
    </message>
    <message>
        <source>{folder} holds shards of {n_sets} different sets</source>
        <translation>{folder}에 서로 다른 {n_sets}벌의 샤드가 있습니다</translation>
    </message>
    <message>
        <source>Did you mean {inside}?</source>
        <translation>{inside}을(를) 찾으셨나요?</translation>
    </message>
    <message>
        <source>the tensor {name} belongs to a LoRA adapter that is not merged</source>
        <translation>텐서 {name}은(는) 합쳐지지 않은 LoRA 어댑터의 것입니다</translation>
    </message>
    <message>
        <source>Only safetensors can be converted; pickle files can run code.</source>
        <translation>safetensors만 변환할 수 있습니다. pickle 파일은 코드를 실행할 수 있습니다.</translation>
    </message>
    <message>
        <source>{name} holds no {missing}</source>
        <translation>{name}에 {missing}이(가) 없습니다</translation>
    </message>
    <message>
        <source>This checkpoint differs from Llama-3.2-Vision in a way this program cannot compute.</source>
        <translation>이 체크포인트는 이 프로그램이 계산할 수 없는 방식으로 Llama-3.2-Vision과 다릅니다.</translation>
    </message>
    <message>
        <source>this checkpoint is the text half only (MllamaForCausalLM): it cannot see</source>
        <translation>이 체크포인트는 텍스트 절반(MllamaForCausalLM)뿐이라 볼 수 없습니다</translation>
    </message>
    <message>
        <source>Convert the full MllamaForConditionalGeneration checkpoint.</source>
        <translation>전체 MllamaForConditionalGeneration 체크포인트를 변환하세요.</translation>
    </message>
    <message>
        <source>Use llama.cpp&apos;s own converter for other architectures.</source>
        <translation>다른 아키텍처에는 llama.cpp의 변환기를 쓰세요.</translation>
    </message>
    <message>
        <source>config: {name} is {value}, {reason}</source>
        <translation>설정: {name}이(가) {value}입니다. {reason}</translation>
    </message>
    <message>
        <source>config.json: model_type is {kind}, supported is &apos;mllama&apos; (Llama-3.2-Vision)</source>
        <translation>config.json: model_type이 {kind}입니다. 지원하는 것은 &apos;mllama&apos;(Llama-3.2-Vision)입니다</translation>
    </message>
    <message>
        <source>It says how pictures are normalised; there is no safe guess.</source>
        <translation>그림을 정규화하는 방법이 들어 있습니다. 안전하게 추측할 수 없습니다.</translation>
    </message>
    <message>
        <source>{folder}: preprocessor_config.json is missing</source>
        <translation>{folder}: preprocessor_config.json이 없습니다</translation>
    </message>
    <message>
        <source>{name} holds no importance matrix</source>
        <translation>{name}에 중요도 행렬이 없습니다</translation>
    </message>
    <message>
        <source>{name}: tensor {tensor} is missing or not F32</source>
        <translation>{name}: 텐서 {tensor}이(가) 없거나 F32가 아닙니다</translation>
    </message>
    <message>
        <source>cannot read imatrix {path}: {reason}</source>
        <translation>imatrix {path}을(를) 읽을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>imatrix: {message}</source>
        <translation>imatrix: {message}</translation>
    </message>
    <message>
        <source>{name}: impossible values for {tensor}</source>
        <translation>{name}: {tensor}의 값이 불가능합니다</translation>
    </message>
    <message>
        <source>{name} is not an imatrix file (at byte {at}): {error}</source>
        <translation>{name}은(는) imatrix 파일이 아닙니다(바이트 {at}): {error}</translation>
    </message>
    <message>
        <source>Give the text file, and this one with --projector.</source>
        <translation>텍스트 파일을 지정하고, 이 파일은 --projector로 지정하세요.</translation>
    </message>
    <message>
        <source>Give it with --projector FILE (Ollama: the layer of type image.projector).</source>
        <translation>--projector FILE로 지정하세요(Ollama: image.projector 유형의 층).</translation>
    </message>
    <message>
        <source>layout {layout}</source>
        <translation>배치 {layout}</translation>
    </message>
    <message>
        <source>gates of the global vision layers are raw ({reason})</source>
        <translation>전역 비전 층의 게이트는 원래 값입니다({reason})</translation>
    </message>
    <message>
        <source>gates of the global vision layers are tanh ({reason})</source>
        <translation>전역 비전 층의 게이트는 tanh 값입니다({reason})</translation>
    </message>
    <message>
        <source>the file has no gates of global vision layers</source>
        <translation>파일에 전역 비전 층의 게이트가 없습니다</translation>
    </message>
    <message>
        <source>Incomplete.</source>
        <translation>불완전합니다.</translation>
    </message>
    <message>
        <source>none is a whole bfloat16 value</source>
        <translation>bfloat16 값으로 떨어지는 것이 없습니다</translation>
    </message>
    <message>
        <source>This file was made in a way that is not known here.</source>
        <translation>이 파일은 알지 못하는 방식으로 만들어졌습니다.</translation>
    </message>
    <message>
        <source>Say --raw-gates yes.</source>
        <translation>--raw-gates yes를 지정하세요.</translation>
    </message>
    <message>
        <source>Only old files of Llama-3.2-Vision can be rescued.</source>
        <translation>Llama-3.2-Vision의 옛 파일만 살릴 수 있습니다.</translation>
    </message>
    <message>
        <source>{name} is a projector file: it sees, but cannot speak</source>
        <translation>{name}은(는) 프로젝터 파일입니다. 볼 수는 있지만 말할 수 없습니다</translation>
    </message>
    <message>
        <source>{name} is the text half only; its projector file is missing</source>
        <translation>{name}은(는) 텍스트 절반뿐이며 프로젝터 파일이 없습니다</translation>
    </message>
    <message>
        <source>The two files do not belong together.</source>
        <translation>두 파일이 서로 맞지 않습니다.</translation>
    </message>
    <message>
        <source>It is incomplete.</source>
        <translation>불완전합니다.</translation>
    </message>
    <message>
        <source>as told</source>
        <translation>지정한 대로</translation>
    </message>
    <message>
        <source>one is larger than 1</source>
        <translation>1보다 큰 값이 있습니다</translation>
    </message>
    <message>
        <source>they are whole bfloat16 values, which a tanh is not</source>
        <translation>모두 bfloat16 값으로 떨어지는데 tanh 값은 그렇지 않습니다</translation>
    </message>
    <message>
        <source>Ollama 0.7.0 wrote them so</source>
        <translation>Ollama 0.7.0이 그렇게 썼습니다</translation>
    </message>
    <message>
        <source>{gate} is {a:g} and v.tile_position_embd.gate is {b:g}: they should add up to 1</source>
        <translation>{gate}이(가) {a:g}, v.tile_position_embd.gate가 {b:g}입니다. 합이 1이어야 합니다</translation>
    </message>
    <message>
        <source>a gate of {gate:g} cannot be a tanh</source>
        <translation>게이트 {gate:g}은(는) tanh 값일 수 없습니다</translation>
    </message>
    <message>
        <source>{name} holds architecture {architecture}, expected &apos;mllama&apos;</source>
        <translation>{name}의 아키텍처는 {architecture}입니다. &apos;mllama&apos;여야 합니다</translation>
    </message>
    <message>
        <source>the file lacks {needed}</source>
        <translation>파일에 {needed}이(가) 없습니다</translation>
    </message>
    <message>
        <source>an importance matrix changes nothing where tensors keep their types</source>
        <translation>텐서 형식이 그대로이면 중요도 행렬은 아무것도 바꾸지 않습니다</translation>
    </message>
    <message>
        <source>Give --quant too; only unquantised tensors of an old file can be quantised.</source>
        <translation>--quant도 지정하세요. 옛 파일에서는 양자화되지 않은 텐서만 양자화할 수 있습니다.</translation>
    </message>
    <message>
        <source>the layers {prefix}* are not complete</source>
        <translation>{prefix}* 층이 완전하지 않습니다</translation>
    </message>
    <message>
        <source>cross-attention stands in layers {cross}, the metadata says {told}</source>
        <translation>교차 어텐션이 {cross}층에 있는데 메타데이터는 {told}(이)라고 합니다</translation>
    </message>
    <message>
        <source>impossible sizes {width}, {keys}, {head}, {vocab}</source>
        <translation>불가능한 크기 {width}, {keys}, {head}, {vocab}</translation>
    </message>
    <message>
        <source>the embedding table has {rows} rows and the head {vocab}: expected 8 more</source>
        <translation>임베딩 표는 {rows}행이고 헤드는 {vocab}행입니다. 8행이 더 있어야 합니다</translation>
    </message>
    <message>
        <source>a tile of {size} pixels has {wanted} tokens, the file {tokens}</source>
        <translation>{size}픽셀 타일에는 토큰 {wanted}개가 있어야 하는데 파일에는 {tokens}개입니다</translation>
    </message>
    <message>
        <source>intermediate layers {intermediate}, the projector reads {n_states} states</source>
        <translation>중간 층 {intermediate}, 프로젝터는 상태 {n_states}개를 읽습니다</translation>
    </message>
    <message>
        <source>{heads} vision heads do not divide {width}</source>
        <translation>비전 헤드 {heads}개로 {width}을(를) 나눌 수 없습니다</translation>
    </message>
    <message>
        <source>the file lacks tensor {name}</source>
        <translation>파일에 텐서 {name}이(가) 없습니다</translation>
    </message>
    <message>
        <source>mllama.{key} is {value}, but the tensors say {seen}</source>
        <translation>mllama.{key}이(가) {value}인데 텐서에 따르면 {seen}입니다</translation>
    </message>
    <message>
        <source>The file is damaged, or was made in a way that is not known here.</source>
        <translation>파일이 손상되었거나 알지 못하는 방식으로 만들어졌습니다.</translation>
    </message>
    <message>
        <source>the vocabulary lacks {missing}</source>
        <translation>어휘에 {missing}이(가) 없습니다</translation>
    </message>
    <message>
        <source>unknown vocabulary: split {pre}, {n_tokens} tokens, {rows} rows</source>
        <translation>알지 못하는 어휘: 분할 {pre}, 토큰 {n_tokens}개, {rows}행</translation>
    </message>
    <message>
        <source>the vocabulary is incomplete: {error}</source>
        <translation>어휘가 불완전합니다: {error}</translation>
    </message>
    <message>
        <source>Set OLLAMA_MODELS to its folder.</source>
        <translation>OLLAMA_MODELS를 그 폴더로 지정하세요.</translation>
    </message>
    <message>
        <source>Ollama has no model {name} in {where}</source>
        <translation>{where}의 Ollama에 모델 {name}이(가) 없습니다</translation>
    </message>
    <message>
        <source>For example: ollama:llama3.2-vision</source>
        <translation>예: ollama:llama3.2-vision</translation>
    </message>
    <message>
        <source>Pull the model again.</source>
        <translation>모델을 다시 내려받으세요.</translation>
    </message>
    <message>
        <source>It belongs to Ollama&apos;s service: copy it, or run this as a user who may read it.</source>
        <translation>Ollama 서비스의 파일입니다. 복사하거나 읽을 수 있는 사용자로 실행하세요.</translation>
    </message>
    <message>
        <source>{name} is not the name of an Ollama model</source>
        <translation>{name}은(는) Ollama 모델의 이름이 아닙니다</translation>
    </message>
    <message>
        <source>{manifest} lists no layers</source>
        <translation>{manifest}에 층 목록이 없습니다</translation>
    </message>
    <message>
        <source>It belongs to an interrupted download.</source>
        <translation>중단된 내려받기의 파일입니다.</translation>
    </message>
    <message>
        <source>{manifest} has no model layer</source>
        <translation>{manifest}에 모델 층이 없습니다</translation>
    </message>
    <message>
        <source>cannot read {filename}: {reason}</source>
        <translation>{filename}을(를) 읽을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>There are: {known}.</source>
        <translation>있는 것: {known}.</translation>
    </message>
    <message>
        <source>{manifest} has a damaged layer</source>
        <translation>{manifest}에 손상된 층이 있습니다</translation>
    </message>
    <message>
        <source>{path} is missing or incomplete</source>
        <translation>{path}이(가) 없거나 불완전합니다</translation>
    </message>
    <message>
        <source>the checkpoint lacks {n_listed} tensors: {shown}</source>
        <translation>체크포인트에 텐서 {n_listed}개가 없습니다: {shown}</translation>
    </message>
    <message>
        <source>the checkpoint has {n_listed} unknown tensors: {shown}</source>
        <translation>체크포인트에 알 수 없는 텐서가 {n_listed}개 있습니다: {shown}</translation>
    </message>
    <message>
        <source>Give another --name.</source>
        <translation>다른 --name을 지정하세요.</translation>
    </message>
    <message>
        <source>Check the permissions.</source>
        <translation>권한을 확인하세요.</translation>
    </message>
    <message>
        <source>Download the whole checkpoint folder again.</source>
        <translation>체크포인트 폴더 전체를 다시 내려받으세요.</translation>
    </message>
    <message>
        <source>the LoRA adapter {adapter} is not part of this; --adapter merges one</source>
        <translation>LoRA 어댑터 {adapter}은(는) 여기에 포함되지 않습니다. --adapter로 합칠 수 있습니다</translation>
    </message>
    <message>
        <source>{base} cannot be the name of a file</source>
        <translation>{base}은(는) 파일 이름이 될 수 없습니다</translation>
    </message>
    <message>
        <source>It is incomplete, or its config.json belongs to another model.</source>
        <translation>불완전하거나 config.json이 다른 모델의 것입니다.</translation>
    </message>
    <message>
        <source>The config.json belongs to another model.</source>
        <translation>config.json이 다른 모델의 것입니다.</translation>
    </message>
    <message>
        <source>Make it with llama-imatrix from a text file of this very model.</source>
        <translation>바로 이 모델의 텍스트 파일로 llama-imatrix를 써서 만드세요.</translation>
    </message>
    <message>
        <source>cannot read {source}: {reason}</source>
        <translation>{source}을(를) 읽을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>cannot read {folder}: {reason}</source>
        <translation>{folder}을(를) 읽을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>{origin}: a JSON file has an impossible value ({name}: {error})</source>
        <translation>{origin}: JSON 파일에 불가능한 값이 있습니다({name}: {error})</translation>
    </message>
    <message>
        <source>stopped before it began</source>
        <translation>시작되기 전에 중지되었습니다</translation>
    </message>
    <message>
        <source>tensor {name} has shape {found}, expected {shape}</source>
        <translation>텐서 {name}의 모양은 {found}입니다. {shape}이어야 합니다</translation>
    </message>
    <message>
        <source>{name}: {tensor} with {n_values} columns is not in this model</source>
        <translation>{name}: 열이 {n_values}개인 {tensor}은(는) 이 모델에 없습니다</translation>
    </message>
    <message>
        <source>{name} is cut off at byte {offset}</source>
        <translation>{name}이(가) 바이트 {offset}에서 잘렸습니다</translation>
    </message>
    <message>
        <source>--projector, --cross-permuted, --raw-gates and --system-block are for old files.</source>
        <translation>--projector, --cross-permuted, --raw-gates, --system-block은 옛 파일에 쓰는 옵션입니다.</translation>
    </message>
    <message>
        <source>Give the text file, and the other one with --projector.</source>
        <translation>텍스트 파일을 지정하고 다른 파일은 --projector로 지정하세요.</translation>
    </message>
    <message>
        <source>{path} is one file of a checkpoint</source>
        <translation>{path}은(는) 체크포인트의 파일 하나입니다</translation>
    </message>
    <message>
        <source>there is nothing at {source}</source>
        <translation>{source}에 아무것도 없습니다</translation>
    </message>
    <message>
        <source>Give a folder with adapter_config.json, or a repository (owner/name).</source>
        <translation>adapter_config.json이 있는 폴더나 저장소(owner/name)를 지정하세요.</translation>
    </message>
    <message>
        <source>{source} is a checkpoint, which leaves nothing open</source>
        <translation>{source}은(는) 정해야 할 것이 없는 체크포인트입니다</translation>
    </message>
    <message>
        <source>{folder} holds {n_old} old files of Llama-3.2-Vision</source>
        <translation>{folder}에 Llama-3.2-Vision의 옛 파일이 {n_old}개 있습니다</translation>
    </message>
    <message>
        <source>Give its folder: convert {parent}</source>
        <translation>그 폴더를 지정하세요: convert {parent}</translation>
    </message>
    <message>
        <source>there is no adapter at {text}</source>
        <translation>{text}에 어댑터가 없습니다</translation>
    </message>
    <message>
        <source>{told} is not for old files</source>
        <translation>{told}은(는) 옛 파일에 쓸 수 없습니다</translation>
    </message>
    <message>
        <source>unknown quantisation {text}</source>
        <translation>알 수 없는 양자화 {text}</translation>
    </message>
    <message>
        <source>Choose one of {quantisations}.</source>
        <translation>{quantisations} 중 하나를 고르세요.</translation>
    </message>
    <message>
        <source>The source is damaged.</source>
        <translation>원본이 손상되었습니다.</translation>
    </message>
    <message>
        <source>tensor {name} holds values that are not finite</source>
        <translation>텐서 {name}에 유한하지 않은 값이 있습니다</translation>
    </message>
    <message>
        <source>Convert with BF16, F32 or Q8_0.</source>
        <translation>BF16, F32, Q8_0으로 변환하세요.</translation>
    </message>
    <message>
        <source>tensor {name}: {error}</source>
        <translation>텐서 {name}: {error}</translation>
    </message>
    <message>
        <source>stopped; the same command resumes</source>
        <translation>중지되었습니다. 같은 명령으로 이어 갈 수 있습니다</translation>
    </message>
    <message>
        <source>The Llama-3 chat format needs them: use the model&apos;s own tokenizer.</source>
        <translation>Llama-3 대화 형식에 필요합니다. 모델 자신의 토크나이저를 쓰세요.</translation>
    </message>
    <message>
        <source>tokenizer.json: unknown pre-tokenizer {pre}</source>
        <translation>tokenizer.json: 알 수 없는 pre-tokenizer {pre}</translation>
    </message>
    <message>
        <source>tokenizer.json lacks the special tokens {missing}</source>
        <translation>tokenizer.json에 특수 토큰 {missing}이(가) 없습니다</translation>
    </message>
    <message>
        <source>tokenizer.json: model type {kind} is not BPE</source>
        <translation>tokenizer.json: 모델 유형 {kind}은(는) BPE가 아닙니다</translation>
    </message>
    <message>
        <source>Use the tokenizer that belongs to this checkpoint.</source>
        <translation>이 체크포인트의 토크나이저를 쓰세요.</translation>
    </message>
    <message>
        <source>tokenizer.json: {key} is not supported</source>
        <translation>tokenizer.json: {key}은(는) 지원하지 않습니다</translation>
    </message>
    <message>
        <source>tokenizer.json: token {text} has id {identity}, the model has {n_rows} rows</source>
        <translation>tokenizer.json: 토큰 {text}의 id는 {identity}인데 모델은 {n_rows}행입니다</translation>
    </message>
    <message>
        <source>tokenizer.json: merge {merge} is not a pair</source>
        <translation>tokenizer.json: 병합 {merge}이(가) 쌍이 아닙니다</translation>
    </message>
    <message>
        <source>{path} is not UTF-8 text</source>
        <translation>{path}은(는) UTF-8 텍스트가 아닙니다</translation>
    </message>
    <message>
        <source>Convert the source again, with another quantisation.</source>
        <translation>원본을 다른 양자화로 다시 변환하세요.</translation>
    </message>
    <message>
        <source>The source or the pair is damaged: convert again.</source>
        <translation>원본이나 파일 쌍이 손상되었습니다. 다시 변환하세요.</translation>
    </message>
    <message>
        <source>{name} wrote nothing about {picture}</source>
        <translation>{name}이(가) {picture}에 대해 아무것도 쓰지 않았습니다</translation>
    </message>
    <message>
        <source>{name}: logits {shape} and {other} cannot be compared, or are not finite</source>
        <translation>{name}: 로짓 {shape}과(와) {other}을(를) 비교할 수 없거나 유한하지 않습니다</translation>
    </message>
    <message>
        <source>Wait until it is done, or choose another --out or --name.</source>
        <translation>끝날 때까지 기다리거나 다른 --out이나 --name을 고르세요.</translation>
    </message>
    <message>
        <source>another conversion is writing to {folder}</source>
        <translation>다른 변환이 {folder}에 쓰고 있습니다</translation>
    </message>
    <message>
        <source>a folder or a file of results is missing</source>
        <translation>폴더나 결과 파일이 빠졌습니다</translation>
    </message>
    <message>
        <source>Fill both fields.</source>
        <translation>두 칸을 모두 채우세요.</translation>
    </message>
    <message>
        <source>cannot write {path}: {reason}</source>
        <translation>{path}을(를) 쓸 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>the window needs PySide6, which is not installed</source>
        <translation>창에는 PySide6이 필요한데 설치되어 있지 않습니다</translation>
    </message>
    <message>
        <source>pip install &apos;llavao1-edge[gui]&apos;</source>
        <translation>pip install &apos;llavao1-edge[gui]&apos;</translation>
    </message>
    <message>
        <source>Open the picture again.</source>
        <translation>그림을 다시 여세요.</translation>
    </message>
    <message>
        <source>the stored copy of {name} is gone</source>
        <translation>저장된 {name} 사본이 없어졌습니다</translation>
    </message>
    <message>
        <source>the stored picture has changed</source>
        <translation>저장된 그림이 바뀌었습니다</translation>
    </message>
    <message>
        <source>Save the table as CSV in UTF-8.</source>
        <translation>표를 UTF-8 CSV로 저장하세요.</translation>
    </message>
    <message>
        <source>Ask something about the pictures.</source>
        <translation>그림에 대해 무엇이든 물어보세요.</translation>
    </message>
    <message>
        <source>Choose a folder with pictures.</source>
        <translation>그림이 있는 폴더를 고르세요.</translation>
    </message>
    <message>
        <source>{path} is not text</source>
        <translation>{path}은(는) 텍스트가 아닙니다</translation>
    </message>
    <message>
        <source>Fill picture and question.</source>
        <translation>그림과 질문을 채우세요.</translation>
    </message>
    <message>
        <source>Free some space or choose another file, and go on.</source>
        <translation>공간을 비우거나 다른 파일을 고른 다음 계속하세요.</translation>
    </message>
    <message>
        <source>{folder} holds no picture</source>
        <translation>{folder}에 그림이 없습니다</translation>
    </message>
    <message>
        <source>Choose another file.</source>
        <translation>다른 파일을 고르세요.</translation>
    </message>
    <message>
        <source>Save it as CSV once more.</source>
        <translation>CSV로 다시 저장하세요.</translation>
    </message>
    <message>
        <source>{name} has no rows</source>
        <translation>{name}에 행이 없습니다</translation>
    </message>
    <message>
        <source>cannot read the folder {folder}: {reason}</source>
        <translation>폴더 {folder}을(를) 읽을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>Give the file the columns picture and question, both filled.</source>
        <translation>파일에 picture와 question 열을 만들고 모두 채우세요.</translation>
    </message>
    <message>
        <source>Split it.</source>
        <translation>나누세요.</translation>
    </message>
    <message>
        <source>{name}, line {number}: {error}</source>
        <translation>{name}, {number}행: {error}</translation>
    </message>
    <message>
        <source>{path} is not a file of results</source>
        <translation>{path}은(는) 결과 파일이 아닙니다</translation>
    </message>
    <message>
        <source>{name}, line {number}: no picture or no question</source>
        <translation>{name}, {number}행: 그림이나 질문이 없습니다</translation>
    </message>
    <message>
        <source>{name} has more than {most} rows</source>
        <translation>{name}은(는) {most}행이 넘습니다</translation>
    </message>
    <message>
        <source>{csv_path} is not a table of results</source>
        <translation>{csv_path}은(는) 결과 표가 아닙니다</translation>
    </message>
    <message>
        <source>another window is writing to it</source>
        <translation>다른 창이 쓰고 있습니다</translation>
    </message>
    <message>
        <source>Nothing is lost: it is tried again with the next change.</source>
        <translation>잃은 것은 없습니다. 다음 변경 때 다시 시도합니다.</translation>
    </message>
    <message>
        <source>Free some space, or check the permissions of the data folder.</source>
        <translation>공간을 비우거나 데이터 폴더의 권한을 확인하세요.</translation>
    </message>
    <message>
        <source>Check the disk; it is tried again with the next change.</source>
        <translation>디스크를 확인하세요. 다음 변경 때 다시 시도합니다.</translation>
    </message>
    <message>
        <source>Check the permissions of the data folder.</source>
        <translation>데이터 폴더의 권한을 확인하세요.</translation>
    </message>
    <message>
        <source>Start the program again: the damaged file is then set aside.</source>
        <translation>프로그램을 다시 시작하세요. 손상된 파일은 따로 옮겨집니다.</translation>
    </message>
    <message>
        <source>Free some space; it is tried again with the next change.</source>
        <translation>공간을 비우세요. 다음 변경 때 다시 시도합니다.</translation>
    </message>
    <message>
        <source>Part of the picture: {box}</source>
        <translation>그림의 부분: {box}</translation>
    </message>
    <message>
        <source>Choose another place.</source>
        <translation>다른 곳을 고르세요.</translation>
    </message>
    <message>
        <source>Choose .md, .json or .html.</source>
        <translation>.md, .json, .html 중 하나를 고르세요.</translation>
    </message>
    <message>
        <source>{name} has an unknown ending</source>
        <translation>{name}의 확장자를 알지 못합니다</translation>
    </message>
    <message>
        <source>the history cannot be opened: {reason}</source>
        <translation>기록을 열 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>the history cannot be read: {reason}</source>
        <translation>기록을 읽을 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>the history cannot be written: {reason}</source>
        <translation>기록을 쓸 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>a picture cannot be stored in the history: {reason}</source>
        <translation>그림을 기록에 저장할 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>Update the program, or choose another data folder with --data.</source>
        <translation>프로그램을 업데이트하거나 --data로 다른 데이터 폴더를 고르세요.</translation>
    </message>
    <message>
        <source>{path} was written by a newer version of this program ({version})</source>
        <translation>{path}은(는) 이 프로그램의 더 새로운 버전({version})이 만들었습니다</translation>
    </message>
    <message>
        <source>This is a bug; please report it.</source>
        <translation>프로그램 오류입니다. 알려 주세요.</translation>
    </message>
    <message>
        <source>unexpected {kind}: {error}</source>
        <translation>예상치 못한 {kind}: {error}</translation>
    </message>
    <message>
        <source>a message of the engine cannot be read ({name}): {line}</source>
        <translation>엔진의 메시지를 읽을 수 없습니다({name}): {line}</translation>
    </message>
    <message>
        <source>{name} is {value} in {file}; the default is used</source>
        <translation>{file}의 {name}이(가) {value}입니다. 기본값을 씁니다</translation>
    </message>
    <message>
        <source>{group} in {file} is not a group of settings; it is left out</source>
        <translation>{file}의 {group}은(는) 설정 묶음이 아닙니다. 건너뜁니다</translation>
    </message>
    <message>
        <source>Free some space, or check the permissions.</source>
        <translation>공간을 비우거나 권한을 확인하세요.</translation>
    </message>
    <message>
        <source>cannot write the settings to {path}: {reason}</source>
        <translation>설정을 {path}에 쓸 수 없습니다: {reason}</translation>
    </message>
    <message>
        <source>a part of this answer could not be read from the history</source>
        <translation>이 답의 일부를 기록에서 읽을 수 없었습니다</translation>
    </message>
</context>
</TS>
